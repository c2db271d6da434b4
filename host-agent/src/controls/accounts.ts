import { CannotCollect, type Collector, inOrder } from './collector.ts'
import { readText } from './read-text.ts'

export type Account = {
  readonly name: string
  readonly uid: number
  readonly home: string
  readonly shell: string
}

/** passwd(5): numbers that several accounts have, and accounts with a shell that lets somebody work. */
export const accounts: Collector = async (host) => {
  const all = parsePasswd(await readText(host, '/etc/passwd'))
  if (all.length === 0) throw new CannotCollect('unreadable', '/etc/passwd names no account')
  const uids = all.map(({ uid }) => uid)
  const twice = uids.filter((uid, at) => uids.indexOf(uid) !== at)
  return {
    duplicateUids: [...new Set(twice)].sort((a, b) => a - b),
    interactive: inOrder(all.filter(isInteractive).map(({ name }) => name)),
  }
}

export function parsePasswd(text: string): readonly Account[] {
  return text.split('\n').flatMap((line) => {
    const [name = '', , uid = '', , , home = '', shell = ''] = line.split(':')
    return name !== '' && /^[0-9]{1,10}$/.test(uid) ? [{ name, uid: Number(uid), home, shell }] : []
  })
}

/** An empty shell means /bin/sh. */
export function isInteractive({ shell }: Account): boolean {
  return !/\/(nologin|false|true|sync|halt|shutdown)$/.test(shell)
}

/** shadow(5). Of a hash only the name of its scheme is looked at; neither it nor its salt is part of the value. */
export const shadow: Collector = async (host) => {
  const entries = parseShadow(await readText(host, '/etc/shadow'))
  const root = entries.find(({ name }) => name === 'root')
  if (root === undefined) throw new CannotCollect('unreadable', '/etc/shadow has no entry of root')
  const names = (chosen: (entry: ShadowEntry) => boolean) =>
    inOrder(entries.filter(chosen).map(({ name }) => name))
  return {
    hashSchemes: inOrder(new Set(entries.flatMap(({ scheme }) => (scheme === null ? [] : [scheme])))),
    rootLocked: root.locked,
    accountsThatExpire: names(({ expires }) => expires),
    accountsWithoutInactivityLimit: names(({ locked, inactivityLimit }) => !locked && !inactivityLimit),
  }
}

type ShadowEntry = {
  readonly name: string
  readonly locked: boolean
  /** `6` of `$6$salt$hash`, `des` without a name, `empty` when no password is asked for; null when there is none at all. */
  readonly scheme: string | null
  readonly inactivityLimit: boolean
  readonly expires: boolean
}

function parseShadow(text: string): readonly ShadowEntry[] {
  return text.split('\n').flatMap((line) => {
    const [name = '', password, , , , , inactive = '', expires = ''] = line.split(':')
    if (name === '' || password === undefined) return []
    const locked = /^[!*]/.test(password)
    return [
      {
        name,
        locked,
        scheme: schemeOf(password),
        inactivityLimit: isDays(inactive),
        expires: isDays(expires),
      },
    ]
  })
}

function schemeOf(password: string): string | null {
  if (password === '') return 'empty'
  const hash = password.replace(/^!+/, '')
  if (hash === '' || hash.startsWith('*') || hash === 'x') return null
  const named = /^\$([A-Za-z0-9-]{1,16})\$/.exec(hash)?.[1]
  return named ?? (hash.startsWith('_') ? 'bsdi' : 'des')
}

function isDays(field: string): boolean {
  return /^[0-9]{1,9}$/.test(field)
}
