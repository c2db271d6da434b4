import { type Collector, type Host, inOrder } from './collector.ts'
import { listIfAny, logicalLines, readTextIfAny } from './read-text.ts'

/** Accounts that gdm, lightdm, sddm or a getty logs in by itself. What is not installed logs nobody in. */
export const autologin: Collector = async (host) => {
  const users = new Set<string>()
  for (const { files, reads } of await places(host)) {
    for (const file of files) {
      // A unit that is masked is a link to there.
      const text = host.tree.resolve(file) === '/dev/null' ? null : await readTextIfAny(host, file)
      for (const user of text === null ? [] : reads(text)) users.add(user)
    }
  }
  return { users: inOrder(users) }
}

type Place = { readonly files: readonly string[]; readonly reads: (text: string) => readonly string[] }

async function places(host: Host): Promise<readonly Place[]> {
  return [
    { files: ['/etc/gdm/custom.conf', '/etc/gdm3/custom.conf'], reads: ofGdm },
    {
      files: ['/etc/lightdm/lightdm.conf', ...(await within(host, '/etc/lightdm/lightdm.conf.d'))],
      reads: (text) => assigned(text, 'autologin-user'),
    },
    { files: ['/etc/sddm.conf', ...(await within(host, '/etc/sddm.conf.d'))], reads: ofSddm },
    { files: await gettyUnits(host), reads: ofGetty },
  ]
}

function ofGdm(text: string): readonly string[] {
  const on = assigned(text, 'AutomaticLoginEnable').some((value) => /^(true|1|yes)$/i.test(value))
  return on ? assigned(text, 'AutomaticLogin') : []
}

function ofSddm(text: string): readonly string[] {
  const section = /^\[Autologin\]\s*$([\s\S]*?)(?=^\[|$(?![\s\S]))/m.exec(text)?.[1] ?? ''
  return assigned(section, 'User')
}

/** agetty(8): `--autologin NAME`, `--autologin=NAME` or `-a NAME`. */
function ofGetty(text: string): readonly string[] {
  return logicalLines(text)
    .filter((line) => /^ExecStart=/.test(line) && line.includes('getty'))
    .flatMap((line) => /\s(?:--autologin[ =]|-a ?)"?([A-Za-z_][A-Za-z0-9._-]*)/.exec(line)?.[1] ?? [])
}

function assigned(text: string, key: string): readonly string[] {
  return text.split('\n').flatMap((line) => {
    const [, name, value] = /^\s*([A-Za-z-]+)\s*=\s*(\S+)\s*$/.exec(line) ?? []
    return name === key && value !== undefined ? [value] : []
  })
}

async function gettyUnits(host: Host): Promise<readonly string[]> {
  const directory = '/etc/systemd/system'
  const names = ((await listIfAny(host, directory)) ?? []).filter((name) => /^(.*getty|autovt)@?/.test(name))
  const files = names.filter((name) => name.endsWith('.service')).map((name) => `${directory}/${name}`)
  const more = names
    .filter((name) => name.endsWith('.service.d'))
    .map((name) => within(host, `${directory}/${name}`))
  return [...files, ...(await Promise.all(more)).flat()]
}

async function within(host: Host, directory: string): Promise<readonly string[]> {
  const names = (await listIfAny(host, directory)) ?? []
  return names.filter((name) => name.endsWith('.conf')).map((name) => `${directory}/${name}`)
}
