import { CannotCollect, type Collector, type Host } from './collector.ts'
import { listIfAny, logicalLines, readText } from './read-text.ts'

/** sudoers(5): the lines of /etc/sudoers and of what it includes, in the order in which sudo reads them. */
export const sudoers: Collector = async (host) => {
  const lines: string[] = []
  await readInto(lines, host, '/etc/sudoers', 0)
  return lines
}

async function readInto(lines: string[], host: Host, file: string, depth: number): Promise<void> {
  if (depth > DEPTH_MAX || lines.length > LINES_MAX)
    throw new CannotCollect('too_large', 'sudoers includes too much')
  for (const line of logicalLines(await readText(host, file))) {
    const [, how, what] = /^[#@](include|includedir)\s+"?([^"]+)"?$/.exec(line) ?? []
    if (what !== undefined) {
      const target = what.startsWith('/') ? what : `${file.slice(0, file.lastIndexOf('/'))}/${what}`
      for (const one of how === 'include' ? [target] : await filesIn(host, target))
        await readInto(lines, host, one, depth + 1)
      continue
    }
    // `#1000` is the user with this number, every other `#` a comment.
    if (!/^#(?![0-9])/.test(line)) lines.push(line.replace(/\s+/g, ' '))
  }
}

/** sudo passes over names with a dot or with a tilde at the end. */
async function filesIn(host: Host, directory: string): Promise<readonly string[]> {
  const names = (await listIfAny(host, directory)) ?? []
  return names
    .filter((name) => !name.includes('.') && !name.endsWith('~'))
    .map((name) => `${directory}/${name}`)
}

/** sudo's own limit of nesting is 128; nobody nests by hand. */
const DEPTH_MAX = 8
const LINES_MAX = 5000
