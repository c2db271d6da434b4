import type { RootedTree } from '../rooted-tree.ts'

export type Board = {
  board_serial: string | null
  product_uuid: string | null
  chassis_serial: string | null
  bios_version: string | null
}

/** What the firmware says in its DMI tables; the serial numbers are readable for root only. */
export async function collectBoard(tree: RootedTree): Promise<Board> {
  const read = async (name: string) => meaningful(await tree.text(`/sys/class/dmi/id/${name}`))
  const [board_serial, product_uuid, chassis_serial, bios_version] = await Promise.all([
    read('board_serial'),
    read('product_uuid'),
    read('chassis_serial'),
    read('bios_version'),
  ])
  return { board_serial, product_uuid, chassis_serial, bios_version }
}

/** Firmware fills what it does not know with such words; thousands of boards share them. */
function meaningful(value: string | null): string | null {
  if (value === null || value === '') return null
  return /^(not (specified|available|applicable|provided)|to be filled by o\.?e\.?m\.?|default string|none|n\/a|unknown|[0.\- ]+)$/i.test(
    value,
  )
    ? null
    : value
}
