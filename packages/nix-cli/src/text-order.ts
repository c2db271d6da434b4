/** Order by UTF-16 code units: the order of bytes for store paths, the same in every locale. */
export function compareText(left: string, right: string): number {
  if (left === right) return 0
  return left < right ? -1 : 1
}
