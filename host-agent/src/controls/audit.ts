import { CannotCollect, type Collector } from './collector.ts'

/** The rules that the kernel has, as `auditctl -l` prints them. */
export const auditRules: Collector = async ({ run }) => {
  const lines = linesOf(await run('auditctl', ['-l']))
  // Without rules it says so.
  if (lines.length === 0) throw new CannotCollect('failed', 'auditctl listed nothing')
  // A rule that names no system call is printed as one about all of them.
  return lines.length === 1 && lines[0] === 'No rules'
    ? []
    : lines.map((line) => line.replace(/ -S all(?= |$)/, ''))
}

/** `auditctl -s`: a name and a value on each line. */
export const auditStatus: Collector = async ({ run }) => {
  const pairs = linesOf(await run('auditctl', ['-s'])).flatMap((line) => {
    const [, name, value] = /^([a-z_]+)\s+(.+)$/.exec(line) ?? []
    return name === undefined || value === undefined ? [] : [[name, value] as const]
  })
  if (pairs.length === 0) throw new CannotCollect('failed', 'auditctl told no status')
  return Object.fromEntries(pairs)
}

function linesOf(output: string): readonly string[] {
  return output
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '')
}
