import { lstat } from 'node:fs/promises'
import path from 'node:path'
import { isInteractive, parsePasswd } from './accounts.ts'
import { CannotCollect, type Collector, type Host, inOrder } from './collector.ts'
import { listIfAny, locate, readText } from './read-text.ts'

/** Private keys in the `.ssh` of accounts that somebody works with, which open without a passphrase. Their paths, nothing of their content. */
export const privateKeys: Collector = async (host) => {
  const homes = new Set(
    parsePasswd(await readText(host, '/etc/passwd'))
      .filter((account) => isInteractive(account) && account.home.startsWith('/') && account.home !== '/')
      .map(({ home }) => home),
  )
  const open: string[] = []
  for (const home of homes) {
    // An empty answer must mean that there are none, not that the agent is kept out.
    await listIfAny(host, path.dirname(home))
    await listIfAny(host, home)
    for (const file of await filesBelow(host, `${home}/.ssh`)) {
      if (await isOpenKey(host, file)) open.push(file)
    }
  }
  return { withoutPassphrase: inOrder(open) }
}

async function filesBelow(host: Host, directory: string): Promise<readonly string[]> {
  const files: string[] = []
  const waiting = [directory]
  for (let at = waiting.pop(); at !== undefined; at = waiting.pop()) {
    for (const name of (await listIfAny(host, at)) ?? []) {
      const inside = `${at}/${name}`
      if (files.length + waiting.length > FILES_MAX)
        throw new CannotCollect('too_large', `${directory} has too many files`)
      const about = host.tree.exists(inside) ? await lstat(await locate(host, inside)) : null
      // A link to a directory could lead round in a circle.
      if (about?.isDirectory() === true && host.tree.linkTarget(inside) === null) waiting.push(inside)
      if (about?.isFile() === true && about.size <= KEY_BYTES_MAX) files.push(inside)
    }
  }
  return files
}

async function isOpenKey(host: Host, file: string): Promise<boolean> {
  const bytes = await host.tree.bytes(file, KEY_BYTES_MAX)
  if (bytes === null) throw new CannotCollect('not_permitted', `${file} may not be read`)
  return opensWithoutPassphrase(Buffer.from(bytes).toString('latin1'))
}

/** OpenSSH names its cipher, PKCS#8 says so in its label, the older form of PEM in a header. */
export function opensWithoutPassphrase(text: string): boolean {
  const block = firstBlock(text)
  if (block === null || block.label === 'ENCRYPTED PRIVATE KEY') return false
  const { label, content } = block
  if (label !== 'OPENSSH PRIVATE KEY') return !/^Proc-Type:.*ENCRYPTED/m.test(content)
  const bytes = Buffer.from(content.replace(/\s+/g, ''), 'base64')
  const length = bytes.length >= 19 ? bytes.readUInt32BE(15) : 0
  return bytes.subarray(19, 19 + length).toString('latin1') === 'none'
}

/** The first block of a private key that ends. A label whose end was not found is not looked for again: the files are anybody's. */
function firstBlock(text: string): { readonly label: string; readonly content: string } | null {
  const endless = new Set<string>()
  for (const { 0: begin, 1: label = '', index } of text.matchAll(BEGIN)) {
    if (endless.has(label)) continue
    const start = index + begin.length
    const end = text.indexOf(`-----END ${label}-----`, start)
    if (end >= 0) return { label, content: text.slice(start, end) }
    endless.add(label)
  }
  return null
}

const BEGIN = /-----BEGIN ((?:[A-Z0-9]+ )*PRIVATE KEY)-----/g
const KEY_BYTES_MAX = 64 * 1024
const FILES_MAX = 500
