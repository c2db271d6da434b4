import { globSync, readFileSync } from 'node:fs'
import { chmod, readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Json, judge } from '@crystal-forge/control-plane'
import {
  type CatalogueRule,
  type ControlFact,
  canonicalJson,
  catalogueRule,
  collectorTable,
  controlFacts,
  type RuntimeCheck,
} from '@crystal-forge/protocol'
import { afterAll, beforeAll, describe, expect, it, test } from 'vitest'
import { controlQuestions } from '../../scripts/control-questions.ts'
import { type CollectedFacts, collectFacts } from '../src/controls/collect-facts.ts'
import { CannotCollect, type Host } from '../src/controls/collector.ts'
import { COLLECTORS } from '../src/controls/collectors.ts'
import { QUESTIONS } from '../src/controls/questions.generated.ts'
import { runProgramIn } from '../src/controls/run-program.ts'
import { compliantHost, hostOf, laxHost, recorded } from './collected-hosts.ts'
import { type PreparedTree, preparedTree, SYSTEM_A, SYSTEM_B, temporaryDirectory } from './prepared-tree.ts'

const CATALOGUE = fileURLToPath(new URL('../../catalogue/', import.meta.url))
const rules: readonly CatalogueRule[] = globSync('anix/rules/*.json', { cwd: CATALOGUE })
  .sort()
  .map((file) => catalogueRule.parse(JSON.parse(readFileSync(path.join(CATALOGUE, file), 'utf8'))))
const checks = rules.flatMap(({ id, assess }) => assess.runtime.map((check) => ({ id, check })))

let compliant: { tree: PreparedTree; host: Host }
let lax: { tree: PreparedTree; host: Host }
let collected: { compliant: CollectedFacts; lax: CollectedFacts }
let tree: PreparedTree

beforeAll(async () => {
  const banner = rules.find(({ id }) => id === 'V-268082')?.assess.runtime[0]?.value
  compliant = await compliantHost(Array.isArray(banner) ? banner.join('\n') : '')
  lax = await laxHost()
  collected = {
    compliant: await collectFacts(compliant.host, QUESTIONS, COLLECTORS),
    lax: await collectFacts(lax.host, QUESTIONS, COLLECTORS),
  }
  tree = await preparedTree()
})
afterAll(async () => {
  for (const one of [compliant.tree, lax.tree, tree]) await one[Symbol.asyncDispose]()
})

function factOf(facts: CollectedFacts, collector: string, args: object): ControlFact | undefined {
  const key = canonicalJson([collector, args])
  return facts.facts.find((fact) => canonicalJson([fact.collector, fact.args]) === key)
}

function factValue(facts: CollectedFacts, collector: string, args: object = {}): unknown {
  const fact = factOf(facts, collector, args)
  return fact !== undefined && 'value' in fact ? fact.value : fact
}

describe('the questions', () => {
  it('are those of the catalogue; node scripts/control-questions.ts writes them anew', () => {
    expect(QUESTIONS).toEqual(controlQuestions())
  })

  it('name collectors that exist, and every collector of the catalogue exists', () => {
    const table = collectorTable.parse(
      JSON.parse(readFileSync(path.join(CATALOGUE, 'collectors.json'), 'utf8')),
    )
    expect(Object.keys(COLLECTORS)).toEqual(Object.keys(table))
    expect(QUESTIONS.filter(({ collector }) => COLLECTORS[collector] === undefined)).toEqual([])
  })

  it('hold none of the words of the rules', async () => {
    const source = await readFile(new URL('../src/controls/questions.generated.ts', import.meta.url), 'utf8')
    expect(source.length).toBeLessThan(8_000)
    expect(source).not.toMatch(/NixOS must|V-[0-9]{6}|USG/)
  })
})

describe('what is collected, judged by the checks of the catalogue', () => {
  /** Files of the test belong to one group; the releases want different ones. */
  const OTHER_RELEASE = ['V-268116 file-tree subset']
  /** One certificate of the bundle is over, so that a test sees it counted. */
  const ONE_IS_OVER = ['V-268124 certificates eq']
  /** Satisfied as Debian comes; that it has time servers and log files at all. */
  const LAX_BY_CHANCE = [
    'V-268101 key-value-file in',
    'V-268114 file-tree ne',
    'V-268118 file-tree ne',
    'V-268130 key-value-file eq',
    'V-268149 time-sync ne',
  ]
  const judgedFor = (facts: CollectedFacts) =>
    checks
      .filter(({ check }) => !JSON.stringify(check.value ?? null).includes('"param"'))
      .map(({ id, check }) => ({
        about: `${id} ${check.collector} ${check.op}`,
        verdict: verdictOn(facts, check),
      }))

  it('agrees with every check on a host that complies', () => {
    const wrong = judgedFor(collected.compliant).filter(({ verdict }) => verdict !== 'true')
    expect(
      wrong.map(({ about }) => about).filter((about) => ![...OTHER_RELEASE, ...ONE_IS_OVER].includes(about)),
    ).toEqual([])
  })

  it('agrees with none on a host that does not', () => {
    const wrong = judgedFor(collected.lax).filter(({ verdict }) => verdict === 'true')
    expect(wrong.map(({ about }) => about).filter((about) => !LAX_BY_CHANCE.includes(about))).toEqual([])
  })

  function verdictOn(
    facts: CollectedFacts,
    { collector, args, field, op, value, arg, normalise }: RuntimeCheck,
  ): string {
    let actual: Json | undefined
    const fact = factOf(facts, collector, args)
    if (fact !== undefined && 'value' in fact) actual = fact.value
    for (const name of field ?? []) {
      const whole: object =
        typeof actual === 'object' && actual !== null && !Array.isArray(actual) ? actual : {}
      actual = new Map<string, Json>(Object.entries(whole)).get(name)
    }
    return judge({ op, actual, expected: value, arg, normalise: normalise ?? [] }).kind
  }
})

describe('values', () => {
  const audit = {
    tree: '/etc/audit',
    units: ['auditd.service', 'audit.service', 'audit-rules-nixos.service'],
  }
  it.each<[string, object, unknown, unknown]>([
    [
      'accounts',
      {},
      { duplicateUids: [], interactive: ['alice', 'root'] },
      { interactive: ['bob', 'root', 'toor', 'twin'] },
    ],
    ['audit-rules', {}, expect.arrayContaining(['-w /etc/shadow -p wa -k identity']), []],
    [
      'audit-status',
      {},
      { enabled: '1', backlog_limit: '8192', loginuid_immutable: '1 locked' },
      { enabled: '0', loginuid_immutable: '0 unlocked' },
    ],
    ['autologin', {}, { users: [] }, { users: ['bob'] }],
    ['binaries', { names: ['telnet'] }, { telnet: false }, { telnet: true }],
    [
      'block-devices',
      {},
      { unencrypted: [], encrypted: ['/', '/nix/store', '[SWAP]'] },
      { unencrypted: ['/'], encrypted: [] },
    ],
    [
      'certificates',
      { path: '/etc/sssd/pki/sssd_auth_ca_db.pem' },
      {
        issuers: ['C=US, O=Example Agency, CN=Example Root CA', 'CN=Short lived'],
        expired: 1,
        notAfter: '2026-12-25T00:05:56.000Z',
      },
      { error: { code: 'absent' } },
    ],
    [
      'dconf',
      { profile: 'user', keys: ['org/gnome/desktop/session/idle-delay'] },
      { 'org/gnome/desktop/session/idle-delay': '600' },
      { 'org/gnome/desktop/session/idle-delay': '0' },
    ],
    [
      'file-tree',
      audit,
      {
        owners: ['root'],
        groups: ['root'],
        directoryModes: ['0755'],
        fileModes: ['0444'],
        entries: 3,
        complete: true,
      },
      { owners: ['toor'], groups: ['wheel'], directoryModes: ['0777'] },
    ],
    [
      'kernel-command-line',
      {},
      { BOOT_IMAGE: '(hd0)/kernel with space', audit: '1', fips: '1', 'systemd.setenv': '(withheld)' },
      { ro: '', quiet: '' },
    ],
    [
      'key-value-file',
      { path: '/etc/login.defs' },
      { ENCRYPT_METHOD: 'SHA512', PASS_MIN_DAYS: '1', PASS_MAX_DAYS: '60', FAIL_DELAY: '4', UMASK: '077' },
      { PASS_MAX_DAYS: '99999', UMASK: '022' },
    ],
    ['key-value-file', { path: '/sys/module/apparmor/parameters/enabled' }, { '': 'Y' }, { '': 'N' }],
    [
      'limits',
      { service: 'login' },
      { '* hard maxlogins': '10', '@wheel soft nofile': '1024', '@wheel hard nofile': '1024' },
      { '* hard maxlogins': '100' },
    ],
    [
      'netfilter',
      {},
      { backend: 'iptables', refusesByDefault: true, rateLimitedPorts: ['22'] },
      { backend: 'none', refusesByDefault: false, rateLimitedPorts: [] },
    ],
    [
      'nix-config',
      {},
      { 'allowed-users': ['root', '@wheel'], 'require-sigs': true },
      { 'allowed-users': ['*'], 'require-sigs': false },
    ],
    ['os-release', {}, { ID: 'nixos', VERSION_ID: '25.11' }, { ID: 'debian', VERSION_ID: '12' }],
    [
      'pam',
      { service: 'passwd' },
      ['password requisite pam_pwquality.so'],
      ['password required pam_unix.so'],
    ],
    ['private-keys', {}, { withoutPassphrase: [] }, { withoutPassphrase: ['/home/bob/.ssh/id_rsa'] }],
    ['radios', {}, { wlanUp: [], bluetoothUp: [] }, { wlanUp: ['wlan0'], bluetoothUp: ['hci0'] }],
    [
      'shadow',
      {},
      { hashSchemes: ['6'], rootLocked: true, accountsThatExpire: [], accountsWithoutInactivityLimit: [] },
      {
        hashSchemes: ['5', 'empty', 'y'],
        rootLocked: false,
        accountsThatExpire: ['twin'],
        accountsWithoutInactivityLimit: ['bob', 'root', 'twin'],
      },
    ],
    [
      'sshd',
      {},
      {
        permitrootlogin: 'no',
        loglevel: 'VERBOSE',
        bannerText: expect.stringMatching(/^You are accessing/),
        // A block that begins in an included file ends with it.
        underMatch: {
          banner: [],
          clientalivecountmax: [],
          clientaliveinterval: ['300'],
          loglevel: [],
          permitrootlogin: [],
        },
      },
      {
        permitrootlogin: 'yes',
        banner: 'none',
        underMatch: {
          banner: ['none'],
          clientalivecountmax: ['9'],
          clientaliveinterval: ['0'],
          loglevel: ['QUIET'],
          permitrootlogin: ['yes'],
        },
      },
    ],
    [
      'sudoers',
      {},
      [
        'Defaults env_reset',
        'Defaults timestamp_timeout=0',
        '#1000 ALL=(ALL) ALL',
        '%wheel ALL=(ALL:ALL) SETENV: ALL',
      ],
      expect.arrayContaining(['%wheel ALL=(ALL:ALL) NOPASSWD: ALL']),
    ],
    [
      'sysctl',
      { names: ['kernel.kptr_restrict'] },
      { 'kernel.kptr_restrict': '2' },
      { 'kernel.kptr_restrict': '0' },
    ],
    [
      'system-paths',
      {},
      { current: SYSTEM_A, booted: SYSTEM_A, bootedIsCurrent: true },
      { current: SYSTEM_A, booted: SYSTEM_B, bootedIsCurrent: false },
    ],
    ['text-file', { path: '/etc/issue' }, expect.stringMatching(/^You are accessing/), 'Welcome\n'],
    [
      'time-sync',
      {},
      {
        servers: ['tick.usnogps.navy.mil', 'tock.usnogps.navy.mil'],
        synchronised: true,
        pollIntervalMaxSeconds: 60,
      },
      {
        servers: ['0.nixos.pool.ntp.org', '1.nixos.pool.ntp.org'],
        synchronised: false,
        pollIntervalMaxSeconds: 2048,
      },
    ],
    [
      'unit',
      { units: ['sshd.service', 'sshd.socket'] },
      {
        activeStates: ['active', 'inactive'],
        'sshd.service': { active: 'active', sub: 'running', load: 'loaded', enabled: 'enabled' },
      },
      {
        activeStates: ['inactive', 'inactive'],
        'sshd.socket': { active: 'inactive', sub: 'dead', load: 'not-found', enabled: '' },
      },
    ],
    [
      'world-writable',
      {},
      { withoutStickyBit: [], complete: true },
      { withoutStickyBit: ['/etc/audit', '/etc/nixos', '/srv/shared', '/var/log/journal'], complete: true },
    ],
  ])('of %s %j, on a host that complies and on one that does not', (collector, args, good, bad) => {
    const matching = (value: unknown): unknown =>
      typeof value === 'object' && value !== null && !Array.isArray(value) && !('asymmetricMatch' in value)
        ? expect.objectContaining(value)
        : value
    expect(factValue(collected.compliant, collector, args)).toEqual(matching(good))
    expect(factValue(collected.lax, collector, args)).toEqual(nested(bad, matching))
  })

  function nested(bad: unknown, matching: (value: unknown) => unknown): unknown {
    if (typeof bad === 'object' && bad !== null && 'error' in bad)
      return expect.objectContaining({ error: matching(bad.error) })
    return matching(bad)
  }

  it('hold no hash, no password, no token', () => {
    const sent = JSON.stringify(collected)
    for (const secret of ['hash-of', 'salt', 'hunter2', 'not-a-real-token', 'PRIVATE KEY', 'MIIB'])
      expect(sent).not.toContain(secret)
    expect(
      factValue(collected.compliant, 'key-value-file', { path: '/etc/systemd/journal-upload.conf' }),
    ).toEqual({
      URL: 'https://(withheld)@logs.example.com:19532',
      TrustedCertificateFile: '/etc/ssl/ca.pem',
    })
    expect(factValue(collected.compliant, 'key-value-file', { path: '/etc/sssd/sssd.conf' })).toMatchObject({
      ldap_default_authtok: '(withheld)',
      offline_credentials_expiration: '1',
    })
  })

  it('are a message that the control plane takes', () => {
    for (const facts of Object.values(collected)) {
      const message = {
        v: 1,
        message_id: 'm'.repeat(16),
        ...facts,
        sequence: 1,
        previous_sha256: null,
        agent_version: '0',
      }
      expect(controlFacts.safeParse(message).error).toBeUndefined()
    }
  })

  it('of limits only where they come before what lets the port in', async () => {
    const late = recorded('compliant/iptables-S.txt').replace(
      '-A nixos-fw -j nixos-fw-log-refuse',
      '-A nixos-fw -p tcp -m tcp --dport 22 -m hashlimit --hashlimit-above 9/min --hashlimit-name late -j DROP\n-A nixos-fw -j nixos-fw-log-refuse',
    )
    const ask = async (iptables: string) => await COLLECTORS['netfilter']?.(hostOf(tree, { iptables }), {})
    expect(await ask(late)).toMatchObject({ rateLimitedPorts: ['22'] })
    expect(
      await ask(late.replace('-A INPUT -j stig-limits\n', '').replace(/^-A stig-limits.*\n/m, '')),
    ).toMatchObject({ rateLimitedPorts: [] })
  })

  it('of an nftables rule set, and of an iptables one that nft cannot read', async () => {
    const ask = async (answers: Record<string, string>) =>
      await COLLECTORS['netfilter']?.(hostOf(tree, answers), {})
    const own = recorded('compliant/nft-ruleset.json')
    const expected = { refusesByDefault: true, rateLimitedPorts: ['22'] }
    expect(await ask({ 'nft -j list ruleset': own })).toEqual({ backend: 'nftables', ...expected })
    expect(await ask({ 'nft -j list ruleset': own, iptables: recorded('lax/iptables-S.txt') })).toEqual({
      backend: 'nftables',
      ...expected,
    })
    expect(
      await ask({
        'nft -j list ruleset': recorded('compliant/nft-of-iptables.json'),
        iptables: recorded('compliant/iptables-S.txt'),
      }),
    ).toEqual({ backend: 'iptables', ...expected })
    const open = recorded('compliant/iptables-S.txt').replace(
      '-A INPUT -j nixos-fw\n',
      '-A INPUT -j ACCEPT\n-A INPUT -j nixos-fw\n',
    )
    expect(await ask({ iptables: open })).toMatchObject({ refusesByDefault: false })
    const six = '-P INPUT ACCEPT\n-A INPUT -i lo -j ACCEPT\n'
    expect(await ask({ iptables: recorded('compliant/iptables-S.txt'), ip6tables: six })).toMatchObject({
      refusesByDefault: false,
    })
  })

  it('of Nix before 2.20, whose command has another name', async () => {
    const host = hostOf(tree, {
      'nix config show': new CannotCollect('failed', 'nix ended with 1'),
      'nix show-config': recorded('compliant/nix-2.8-show-config.json'),
    })
    expect(await COLLECTORS['nix-config']?.(host, {})).toMatchObject({ 'require-sigs': true })
  })

  it.each([
    ['PRIVATE KEY', 'MC4CAQ==', true],
    ['ENCRYPTED PRIVATE KEY', 'MC4CAQ==', false],
    ['RSA PRIVATE KEY', 'Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nMIIB', false],
    ['OPENSSH PRIVATE KEY', openssh('none'), true],
    ['OPENSSH PRIVATE KEY', openssh('aes256-ctr'), false],
    ['PUBLIC KEY', 'MCow', false],
    ['OPENSSH PRIVATE KEY', 'AAAA', false],
  ])('of a file with a %s', async (label, content, open) => {
    const home = await preparedTree()
    await home.write('etc/passwd', 'root:x:0:0::/root:/bin/sh\n')
    await home.write('root/.ssh/deep/key', `-----BEGIN ${label}-----\n${content}\n-----END ${label}-----\n`)
    const found = await COLLECTORS['private-keys']?.(hostOf(home), {})
    expect(found).toEqual({ withoutPassphrase: open ? ['/root/.ssh/deep/key'] : [] })
    await home[Symbol.asyncDispose]()
  })

  it('of a file in which keys begin that never end, before one that does', async () => {
    const home = await preparedTree()
    await home.write('etc/passwd', 'root:x:0:0::/root:/bin/sh\n')
    const begins = ['EC', 'RSA', 'EC']
      .map((kind) => `-----BEGIN ${kind} PRIVATE KEY-----\n`.repeat(500))
      .join('')
    const key = '-----BEGIN PRIVATE KEY-----\nMC4CAQ==\n-----END PRIVATE KEY-----\n'
    await home.write('root/.ssh/endless', begins)
    await home.write('root/.ssh/key', begins + key)
    const found = await COLLECTORS['private-keys']?.(hostOf(home), {})
    expect(found).toEqual({ withoutPassphrase: ['/root/.ssh/key'] })
    await home[Symbol.asyncDispose]()
  })

  /** PROTOCOL.key of OpenSSH: the magic with its NUL, then the name of the cipher as a string. */
  function openssh(cipher: string): string {
    const length = Buffer.alloc(4)
    length.writeUInt32BE(cipher.length)
    return Buffer.concat([Buffer.from('openssh-key-v1\0'), length, Buffer.from(cipher)]).toString('base64')
  }
})

describe('hostile and broken sources give a reason and no value', () => {
  const BINARY = new Uint8Array([0x50, 0x61, 0xff, 0xfe, 0x00])
  const deepJson = `${'{"a":['.repeat(500)}1${']}'.repeat(500)}`
  const deepDevices = `{"blockdevices":[${'{"children":['.repeat(100)}{}${']}'.repeat(100)}]}`
  it.each<[string, string, object, Record<string, string | Uint8Array>, Record<string, string>, string]>([
    ['a binary file', 'key-value-file', { path: '/etc/x' }, { 'etc/x': BINARY }, {}, 'unreadable'],
    [
      'a file in Latin-1',
      'text-file',
      { path: '/etc/x' },
      { 'etc/x': Buffer.from('gr\xfc\xdfe', 'latin1') },
      {},
      'unreadable',
    ],
    [
      'a huge file',
      'key-value-file',
      { path: '/etc/x' },
      { 'etc/x': 'a=b\n'.repeat(70_000) },
      {},
      'too_large',
    ],
    [
      'a text of more than 16 KiB',
      'text-file',
      { path: '/etc/x' },
      { 'etc/x': 'a'.repeat(16_385) },
      {},
      'too_large',
    ],
    ['a directory in the place of a file', 'text-file', { path: '/etc' }, {}, {}, 'unreadable'],
    ['a file that is not there', 'pam', { service: 'nobody' }, {}, {}, 'absent'],
    ['a service that leads out of its directory', 'pam', { service: '../shadow' }, {}, {}, 'unsupported'],
    ['a setting that leads out of /proc/sys', 'sysctl', { names: ['..etc.shadow'] }, {}, {}, 'unsupported'],
    ['a path that is none', 'text-file', { path: 'etc/x' }, {}, {}, 'unsupported'],
    ['a path that is a list', 'text-file', { path: ['/etc/x'] }, {}, {}, 'unsupported'],
    ['an option in the place of a unit', 'unit', { units: ['--root=/evil'] }, {}, {}, 'unsupported'],
    ['no JSON of lsblk', 'block-devices', {}, {}, { lsblk: 'NAME TYPE\nsda disk\n' }, 'unreadable'],
    ['deep JSON of lsblk', 'block-devices', {}, {}, { lsblk: deepDevices }, 'unreadable'],
    [
      'JSON of lsblk that is something else',
      'block-devices',
      {},
      {},
      { lsblk: '{"blockdevices":{}}' },
      'unreadable',
    ],
    [
      'no JSON of nix',
      'nix-config',
      {},
      {},
      { 'nix config show': 'warning: unknown setting\n' },
      'unreadable',
    ],
    ['deep JSON of nix', 'nix-config', {}, {}, { 'nix config show': deepJson }, 'unreadable'],
    ['no JSON of nft', 'netfilter', {}, {}, { nft: 'table inet x { }' }, 'unreadable'],
    ['neither nft nor iptables', 'netfilter', {}, {}, {}, 'absent'],
    ['an sshd that prints nothing', 'sshd', {}, {}, { 'sshd -T': '' }, 'failed'],
    ['an sshd in another language', 'sshd', {}, {}, { 'sshd -T': 'Erlaubnis: nein\n' }, 'failed'],
    [
      'an answer about other units',
      'unit',
      { units: ['a.service', 'b.service'] },
      {},
      { 'systemctl show': 'ActiveState=active\n' },
      'failed',
    ],
    [
      'a PEM without certificates',
      'certificates',
      { path: '/etc/x' },
      { 'etc/x': 'hello' },
      {},
      'unreadable',
    ],
    [
      'a certificate that is none',
      'certificates',
      { path: '/etc/x' },
      { 'etc/x': '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n' },
      {},
      'unreadable',
    ],
    [
      'sshd_config that includes by a pattern of directories',
      'sshd',
      {},
      { 'etc/ssh/sshd_config': 'Include /etc/*/sshd_config\n' },
      { 'sshd -T': 'permitrootlogin no\n' },
      'unsupported',
    ],
    [
      'sshd_config that includes itself',
      'sshd',
      {},
      { 'etc/ssh/sshd_config': 'Include sshd_config\n' },
      { 'sshd -T': 'permitrootlogin no\n' },
      'too_large',
    ],
    [
      'sudoers that include themselves',
      'sudoers',
      {},
      { 'etc/sudoers': '@include /etc/sudoers\n' },
      {},
      'too_large',
    ],
    [
      'a value of more than 64 KiB',
      'audit-rules',
      {},
      {},
      { 'auditctl -l': '-w /x -p wa\n'.repeat(10_000) },
      'too_large',
    ],
    [
      'an auditctl that lists nothing, not even that there is none',
      'audit-rules',
      {},
      {},
      { 'auditctl -l': '' },
      'failed',
    ],
    ['an auditctl that tells nothing', 'audit-status', {}, {}, { 'auditctl -s': '\n' }, 'failed'],
    ['accounts without one', 'accounts', {}, { 'etc/passwd': '# none\n' }, {}, 'unreadable'],
    ['hashes without an entry of root', 'shadow', {}, { 'etc/shadow': '\n' }, {}, 'unreadable'],
    [
      'no device at all',
      'block-devices',
      {},
      { 'proc/self/mountinfo': '21 1 0:2 / / rw - tmpfs tmpfs rw\n' },
      { lsblk: '{"blockdevices":[]}' },
      'unreadable',
    ],
    [
      'devices that nothing is mounted from',
      'block-devices',
      {},
      { 'proc/self/mountinfo': '21 1 0:2 / / rw - nfs4 server:/root rw\n' },
      { lsblk: '{"blockdevices":[{"name":"sda","type":"disk","fstype":null,"mountpoints":[null]}]}' },
      'unreadable',
    ],
    [
      'a mounted device that lsblk does not see',
      'block-devices',
      {},
      { 'proc/self/mountinfo': '21 1 253:0 / /with\\040space rw - ext4 /dev/mapper/vg-data rw\n' },
      { lsblk: '{"blockdevices":[{"name":"sda","type":"disk","fstype":"ext4","mountpoints":["/with"]}]}' },
      'not_permitted',
    ],
    [
      'swap on a device that lsblk does not see',
      'block-devices',
      {},
      { 'proc/swaps': 'Filename\tType\n/dev/dm-1\t\tpartition\t1\t0\t-2\n' },
      { lsblk: '{"blockdevices":[{"name":"sda","type":"crypt","fstype":"ext4","mountpoints":["/"]}]}' },
      'not_permitted',
    ],
    ['a system without a profile', 'binaries', { names: ['telnet'] }, {}, {}, 'absent'],
    ['a kernel that shows no interfaces', 'radios', {}, {}, {}, 'absent'],
    [
      'a wireless interface that does not say whether it is up',
      'radios',
      {},
      { 'sys/class/net/wlan0/phy80211/index': '0\n' },
      {},
      'absent',
    ],
    ['a collector that does not exist', 'shell', { command: 'id' }, {}, {}, 'unsupported'],
    ['a member of every object', 'constructor', {}, {}, {}, 'unsupported'],
  ])('%s', async (_, collector, args, files, answers, code) => {
    const own = await preparedTree()
    await own.write('proc/self/mountinfo', '21 1 259:2 / / rw - ext4 /dev/sda1 rw\n')
    await own.write('etc/passwd', '')
    for (const [file, content] of Object.entries(files)) await own.write(file, content)
    const { facts } = await collectFacts(
      hostOf(own, answers),
      [{ collector, args: JSON.parse(JSON.stringify(args)) }],
      COLLECTORS,
    )
    expect(facts).toEqual([
      {
        collector,
        args,
        collected_at: '2027-02-01T00:00:00.000Z',
        error: { code, detail: expect.any(String) },
      },
    ])
    await own[Symbol.asyncDispose]()
  })

  it.each([
    ['zfs', 'rpool/root'],
    ['bcachefs', '/dev/sda'],
  ])('%s, which encrypts by itself', async (type, source) => {
    await tree.write('proc/self/mountinfo', `21 1 0:2 / / rw - ${type} ${source} rw\n`)
    const host = hostOf(tree, { lsblk: recorded('lax/lsblk.json') })
    await expect(COLLECTORS['block-devices']?.(host, {})).rejects.toMatchObject({ code: 'unsupported' })
  })

  it('a home that is hidden from the agent', async () => {
    await tree.write('etc/passwd', 'bob:x:1000:100::/home/bob:/bin/sh\n')
    await tree.write('home/bob/.ssh/id', 'x')
    await chmod(path.join(tree.root, 'home'), 0o000)
    await expect(COLLECTORS['private-keys']?.(hostOf(tree), {})).rejects.toMatchObject({
      code: 'not_permitted',
    })
    await chmod(path.join(tree.root, 'home'), 0o755)
  })

  it('a directory that is hidden from the agent, which looks empty to whoever may read all', async () => {
    const own = await preparedTree()
    await own.write('etc/nixos/configuration.nix', '{ }\n')
    await chmod(path.join(own.root, 'etc/nixos'), 0o000)
    for (const [collector, args] of [
      ['world-writable', {}],
      ['file-tree', { tree: '/etc' }],
    ] as const)
      await expect(COLLECTORS[collector]?.(hostOf(own), args)).rejects.toMatchObject({
        code: 'not_permitted',
      })
    await chmod(path.join(own.root, 'etc/nixos'), 0o755)
    await own[Symbol.asyncDispose]()
  })

  it('a tree that takes too long: part of it would look like all of it', async () => {
    let now = 0
    const host = { ...hostOf(tree), monotonicMs: () => (now += 15_000) }
    await expect(COLLECTORS['world-writable']?.(host, {})).rejects.toMatchObject({ code: 'timeout' })
    await expect(COLLECTORS['file-tree']?.(host, { tree: '/etc' })).rejects.toMatchObject({ code: 'timeout' })
  })

  it('escapes that make half of a character or NUL', async () => {
    const host = hostOf(tree, { 'dconf read': "'a\\ud800b\\u0000c'\n" })
    const question = { collector: 'dconf', args: { profile: 'user', keys: ['k'] } }
    expect((await collectFacts(host, [question], COLLECTORS)).facts).toMatchObject([
      { value: { k: 'a\u{FFFD}b\u{FFFD}c' } },
    ])
  })

  it('names that every object has, which no strict reader takes', async () => {
    await tree.write('etc/x', '__proto__ = 1\nconstructor = 2\nplain = 3\n')
    const question = { collector: 'key-value-file', args: { path: '/etc/x' } }
    const { facts } = await collectFacts(hostOf(tree), [question], COLLECTORS)
    expect(JSON.stringify(facts)).toContain('"value":{"plain":"3"}')
  })

  it('values that do not fit into one message', async () => {
    const questions = Array.from({ length: 20 }, () => ({ collector: 'audit-rules', args: {} }))
    const host = hostOf(tree, { 'auditctl -l': '-w /x -p wa\n'.repeat(4_000) })
    const { facts } = await collectFacts(host, questions, COLLECTORS)
    expect(JSON.stringify(facts).length).toBeLessThan(1024 * 1024)
    expect(facts.filter((fact) => 'value' in fact)).toHaveLength(17)
    expect(facts.filter((fact) => 'error' in fact && fact.error.code === 'too_large')).toHaveLength(3)
  })

  it('a system that is switched meanwhile belongs to neither', async () => {
    const own = await preparedTree()
    const host = hostOf(own)
    const switching = {
      ...host,
      run: async () => {
        await own.link('run/current-system', SYSTEM_B)
        return ''
      },
    }
    await expect(
      collectFacts(switching, [{ collector: 'audit-rules', args: {} }], COLLECTORS),
    ).rejects.toThrow('switched')
    await own[Symbol.asyncDispose]()
  })
})

describe('programs', () => {
  const SCRIPTS = {
    // biome-ignore lint/suspicious/noTemplateCurlyInString: the shell expands it
    fine: 'printf "%s %s %s" "$1" "$LC_ALL" "${SECRET-unset}"',
    binary: "printf 'a\\000b'",
    latin: "printf 'gr\\374n'",
    endless: 'while :; do echo yes; done',
    hanging: 'exec sleep 60',
    failing: 'echo "password=hunter2" >&2; exit 3',
    // As auditctl and nft of a host said it without the capability.
    refused: 'echo "Error sending rule list data request (Operation not permitted)" >&2; exit 255',
    unprivileged: 'echo "You must be root to run this program." >&2; exit 4',
  }
  test.each<[string, string | RegExp]>([
    ['fine', '$(id); C unset'],
    ['binary', 'unreadable: binary is binary'],
    ['latin', 'unreadable: latin is not UTF-8'],
    ['endless', 'too_large: endless printed more than 1000 bytes'],
    ['hanging', 'timeout: hanging took longer than 0.5 s'],
    ['failing', 'failed: failing ended with 3'],
    ['refused', 'not_permitted: refused is not permitted to look'],
    ['unprivileged', 'not_permitted: unprivileged is not permitted to look'],
    ['missing', 'absent: there is no missing in the system profile'],
  ])('one that is %s', async (name, expected) => {
    const directory = await temporaryDirectory()
    for (const [script, text] of Object.entries(SCRIPTS)) {
      const file = path.join(directory.path, script)
      await writeFile(file, `#!/bin/sh\nPATH=/usr/bin:/bin\n${text}\n`, { mode: 0o755 })
    }
    const run = runProgramIn(directory.path, { ms: 500, bytesMax: 1000 })
    const outcome = await run(name, ['$(id);']).catch((error: unknown) =>
      error instanceof CannotCollect ? `${error.code}: ${error.message}` : String(error),
    )
    expect(outcome).toBe(expected)
    await directory[Symbol.asyncDispose]()
  })
})
