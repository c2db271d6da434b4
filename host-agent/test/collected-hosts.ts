import { readFileSync } from 'node:fs'
import { chmod, cp, mkdir } from 'node:fs/promises'
import path from 'node:path'
import process from 'node:process'
import { CannotCollect, type Host, type RunProgram } from '../src/controls/collector.ts'
import { rootedTree } from '../src/rooted-tree.ts'
import { type PreparedTree, preparedTree, SYSTEM_B } from './prepared-tree.ts'

const RECORDED = new URL('../../test/fixtures/recorded/collectors/', import.meta.url)

export type Programs = Readonly<Record<string, string | CannotCollect>>

/** A recorded output, such as `lax/lsblk.json`. */
export function recorded(file: string): string {
  return readFileSync(new URL(file, RECORDED), 'utf8')
}

/** Answers by what the command line begins with; the longest that fits. A program without an answer is not installed. */
export function programs(answers: Programs): RunProgram {
  return async (program, argv) => {
    const line = [program, ...argv].join(' ')
    const known = Object.keys(answers).filter((start) => line.startsWith(start))
    const answer = answers[known.sort((a, b) => b.length - a.length)[0] ?? '']
    if (answer === undefined)
      throw new CannotCollect('absent', `there is no ${program} in the system profile`)
    if (answer instanceof CannotCollect) throw answer
    return answer
  }
}

export function hostOf(tree: PreparedTree, answers: Programs = {}): Host {
  return {
    tree: rootedTree(tree.root),
    run: programs(answers),
    now: () => new Date('2027-02-01T00:00:00Z'),
    monotonicMs: () => 0,
  }
}

/** A host as the STIG wants it. */
export async function compliantHost(banner: string): Promise<{ tree: PreparedTree; host: Host }> {
  const tree = await preparedTree()
  const texts = {
    'etc/issue': banner,
    'etc/ssh/banner': banner,
    'etc/sssd/pki/sssd_auth_ca_db.pem': recorded('compliant/certificates.pem'),
  }
  await systemOf(tree, ['vlock', 'auditctl', 'p11sak', 'aide', 'sshd'])
  for (const [file, content] of Object.entries({ ...COMPLIANT_FILES, ...texts }))
    await tree.write(file, content)
  await chmodAll(tree, {
    'var/log/audit': 0o700,
    'var/log/audit/audit.log': 0o600,
    'var/log/journal/system.journal': 0o640,
  })
  await chmodAll(tree, { 'etc/audit/auditd.conf': 0o444, 'etc/systemd/system/auditd.service': 0o444 })
  await mkdir(path.join(tree.root, 'tmp'))
  await chmodAll(tree, { tmp: 0o1777 })
  const one = recorded('compliant/systemctl-show.txt')
  const host = hostOf(tree, {
    'sshd -T': recorded('compliant/sshd-T.txt'),
    'auditctl -l': recorded('compliant/auditctl-l.txt'),
    'auditctl -s': recorded('compliant/auditctl-s.txt'),
    'iptables -w 5 -S': recorded('compliant/iptables-S.txt'),
    'ip6tables -w 5 -S': recorded('compliant/ip6tables-S.txt'),
    'lsblk --json': recorded('compliant/lsblk.json'),
    'nix config show': recorded('compliant/nix-config-show.json'),
    'systemctl show': one,
    'systemctl show --property=ActiveState,SubState,LoadState,UnitFileState -- sshd.service sshd.socket': `${one}\n${recorded('lax/systemctl-show.txt')}`,
    'timedatectl show-timesync': recorded('compliant/timedatectl-show-timesync.txt'),
    'timedatectl show ': recorded('compliant/timedatectl-show.txt'),
    'dconf read /org/gnome/desktop/session/idle-delay': recorded('compliant/dconf-idle-delay.txt'),
    'dconf read /org/gnome/login-screen/banner-message-text': `'${banner.replaceAll('\\', '\\\\').replaceAll("'", "\\'").replaceAll('\n', '\\n')}'\n`,
  })
  return { tree, host }
}

/** A host as it comes, with most of what the STIG complains of. */
export async function laxHost(): Promise<{ tree: PreparedTree; host: Host }> {
  const tree = await preparedTree()
  await systemOf(tree, ['telnet'])
  await cp(new URL('lax/root/', RECORDED), tree.root, { recursive: true })
  for (const [file, content] of Object.entries(LAX_FILES)) await tree.write(file, content)
  await tree.link('run/booted-system', SYSTEM_B)
  await chmodAll(tree, { 'var/log/audit': 0o755, 'var/log/audit/audit.log': 0o644, 'etc/audit': 0o777 })
  await chmodAll(tree, {
    'var/log/journal': 0o777,
    'var/log/journal/system.journal': 0o666,
    'etc/nixos': 0o777,
  })
  await chmodAll(tree, { 'etc/nixos/configuration.nix': 0o666 })
  await mkdir(path.join(tree.root, 'srv/shared'), { recursive: true })
  await chmodAll(tree, { 'srv/shared': 0o777 })
  const one = recorded('lax/systemctl-show.txt')
  const host = hostOf(tree, {
    'sshd -T': recorded('lax/sshd-T.txt'),
    'auditctl -l': recorded('lax/auditctl-l.txt'),
    'auditctl -s': recorded('lax/auditctl-s.txt'),
    'iptables -w 5 -S': recorded('lax/iptables-S.txt'),
    'nft -j list ruleset': recorded('lax/nft-ruleset.json'),
    'lsblk --json': recorded('lax/lsblk.json'),
    'nix config show': recorded('lax/nix-config-show.json'),
    'systemctl show': one,
    'systemctl show --property=ActiveState,SubState,LoadState,UnitFileState -- sshd.service sshd.socket': `${one}\n${one}`,
    'timedatectl show-timesync': recorded('lax/timedatectl-show-timesync.txt'),
    'timedatectl show ': 'NTPSynchronized=no\n',
    'dconf read /org/gnome/desktop/session/idle-delay': recorded('lax/dconf-idle-delay.txt'),
    'dconf read /org/gnome/login-screen/banner-message-text': "'Welcome'\n",
  })
  return { tree, host }
}

async function systemOf(tree: PreparedTree, binaries: readonly string[]): Promise<void> {
  // A store path that the links of the tree lead to, with the profile inside.
  for (const name of binaries)
    await tree.write(`nix/store/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-nixos-system-web-1-25.11/sw/bin/${name}`, '')
  await tree.write(
    'proc/self/mountinfo',
    '21 1 259:2 / / rw,relatime shared:1 - ext4 /dev/mapper/vg-root rw\n',
  )
  await tree.write('etc/group', `root:x:${OWNER.gid}:\n`)
}

async function chmodAll(tree: PreparedTree, modes: Readonly<Record<string, number>>): Promise<void> {
  for (const [file, mode] of Object.entries(modes)) await chmod(path.join(tree.root, file), mode)
}

/** Of the files in the tree: whoever runs the tests. */
const OWNER = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 }

const FAILLOCK = `auth required /nix/store/x-linux-pam/lib/security/pam_faillock.so preauth silent audit deny=3 fail_interval=900 unlock_time=0 # order 10
auth sufficient pam_unix.so likeauth try_first_pass
auth [default=die]   pam_faillock.so authfail audit deny=3 fail_interval=900 unlock_time=0
auth sufficient pam_p11.so /lib/opensc-pkcs11.so
account required pam_faillock.so
session required pam_limits.so conf=/etc/security/login-limits.conf
`
const PWQUALITY = '# set password\npassword requisite \\\n  pam_pwquality.so\n'

const COMPLIANT_FILES: Readonly<Record<string, string>> = {
  'proc/cmdline':
    'BOOT_IMAGE="(hd0)/kernel with space" init=/nix/store/x/init loglevel=4 audit=1 audit_backlog_limit=8192 fips=1 systemd.setenv=TOKEN=hunter2 -- audit=0\n',
  'proc/sys/net/ipv4/tcp_syncookies': '1\n',
  'proc/sys/kernel/kptr_restrict': '2\n',
  'proc/sys/kernel/randomize_va_space': '2\n',
  'proc/sys/crypto/fips_enabled': '1\n',
  'etc/passwd': `root:x:${OWNER.uid}:0:System administrator:/root:/run/current-system/sw/bin/bash\nalice:x:7001:100::/home/alice:/run/current-system/sw/bin/bash\nsshd:x:998:998::/var/empty:/run/current-system/sw/bin/nologin\n`,
  'etc/shadow': 'root:!:1::::::\nalice:$6$salt$hash-of-alice:19000:1:60:7:35::\nsshd:!:1::::::\n',
  'home/alice/.ssh/id_ed25519.pub': 'ssh-ed25519 AAAA alice\n',
  'root/.profile': '',
  'etc/audit/auditd.conf':
    'space_left = 25%\nspace_left_action = syslog\nadmin_space_left = 10%\nadmin_space_left_action = syslog\ndisk_full_action = HALT\ndisk_error_action = HALT\nlog_group = root\n',
  'etc/systemd/system/auditd.service': '[Service]\n',
  'etc/nixos/configuration.nix': '{ }\n',
  'var/log/audit/audit.log': '',
  'var/log/journal/system.journal': '',
  'etc/security/pwquality.conf':
    'ucredit = -1\nlcredit=-1\ndcredit = -1\ndifok = 8\nminlen = 15\nocredit = -1\ndictcheck = 1\n',
  'etc/login.defs':
    '# comment\nENCRYPT_METHOD SHA512\nPASS_MIN_DAYS 7\nPASS_MIN_DAYS\t1\nPASS_MAX_DAYS 60\nFAIL_DELAY 4\nUMASK 077\n',
  'etc/default/useradd': 'INACTIVE=35\n',
  'etc/sssd/sssd.conf':
    '[domain/x]\nldap_default_authtok = hunter2\n[pam]\noffline_credentials_expiration = 1\n',
  'etc/pam_pkcs11/pam_pkcs11.conf': 'pam_pkcs11 {\n  cert_policy = ca,signature,ocsp_on, crl_auto;\n}\n',
  'etc/systemd/journal-upload.conf':
    '[Upload]\nURL=https://log:hunter2@logs.example.com:19532\nTrustedCertificateFile=/etc/ssl/ca.pem\n',
  'etc/systemd/journald.conf': '[Journal]\nStorage=persistent\nAudit=yes\n',
  'etc/ssh/sshd_config': 'Port 22\nInclude sshd_config.d/*.conf\nPermitRootLogin no\n',
  'etc/ssh/sshd_config.d/10-sftp.conf':
    'Match Group sftp\n  ForceCommand internal-sftp\n  ClientAliveInterval 300\n',
  'etc/systemd/logind.conf': '[Login]\nIdleAction=lock\nIdleActionSec=10min\n',
  'sys/module/apparmor/parameters/enabled': 'Y\n',
  'etc/pam.d/login': FAILLOCK,
  'etc/pam.d/sshd': FAILLOCK,
  'etc/pam.d/passwd': PWQUALITY,
  'etc/pam.d/chpasswd': PWQUALITY,
  'etc/pam.d/sudo': PWQUALITY,
  'etc/security/login-limits.conf': '# all\n* hard maxlogins 10\n@wheel - nofile 1024\n',
  'etc/sudoers':
    'Defaults env_reset\n#includedir /etc/sudoers.d\n#1000 ALL=(ALL) ALL\n# nothing\n%wheel ALL=(ALL:ALL) \\\n  SETENV: ALL\n',
  'etc/sudoers.d/timeout': 'Defaults timestamp_timeout=0\n',
  'etc/sudoers.d/old~': '%wheel ALL=(ALL) NOPASSWD: ALL\n',
  'etc/os-release': 'ID=nixos\nVERSION_ID="25.11"\n',
  'sys/class/net/eth0/flags': '0x1003\n',
}

const LAX_FILES: Readonly<Record<string, string>> = {
  'proc/sys/net/ipv4/tcp_syncookies': '0\n',
  'proc/sys/kernel/kptr_restrict': '0\n',
  'proc/sys/kernel/randomize_va_space': '0\n',
  'proc/sys/crypto/fips_enabled': '0\n',
  'etc/passwd': `toor:x:${OWNER.uid}:0::/root:/bin/bash\nroot:x:${OWNER.uid}:0::/root:/bin/bash\nbob:x:7001:100::/home/bob:/bin/bash\ntwin:x:7001:100::/home/bob:\n`,
  'etc/group': `wheel:x:${OWNER.gid}:\n`,
  'sys/class/net/wlan0/phy80211/index': '0\n',
  'etc/shadow':
    'root:$y$j9T$salt$hash-of-root:1::::::\nbob:$5$salt$hash-of-bob:1::::::\ntwin::1:::::20000:\n',
  'home/bob/.ssh/id_rsa': '-----BEGIN RSA PRIVATE KEY-----\nMIIB\n-----END RSA PRIVATE KEY-----\n',
  'root/.profile': '',
  'etc/nixos/configuration.nix': '{ }\n',
  'var/log/audit/audit.log': '',
  'var/log/journal/system.journal': '',
  'etc/issue': 'Welcome\n',
  'etc/security/pwquality.conf':
    'ucredit = 0\nlcredit = 0\ndcredit = 0\ndifok = 1\nminlen = 8\nocredit = 0\ndictcheck = 0\n',
  'etc/sssd/sssd.conf': '[pam]\noffline_credentials_expiration = 0\n',
  'etc/pam_pkcs11/pam_pkcs11.conf': 'cert_policy = none;\n',
  'etc/systemd/journal-upload.conf': '[Upload]\nTrustedCertificateFile=all\n',
  'etc/systemd/journald.conf': '[Journal]\nAudit=no\n',
  'etc/ssh/sshd_config':
    'PermitRootLogin no\nMatch Address 10.0.0.0/8\n  permitrootlogin yes\n  ClientAliveInterval=0\n  constructor x\n  Include more\nMatch all\n  Banner none\n',
  'etc/ssh/more': 'LogLevel QUIET\nClientAliveCountMax 9\n',
  'etc/systemd/logind.conf': '[Login]\nIdleAction=ignore\nIdleActionSec=30min\n',
  'sys/module/apparmor/parameters/enabled': 'N\n',
  'etc/pam.d/sshd': 'auth required pam_unix.so\n',
  'etc/pam.d/passwd': 'password required pam_unix.so\n',
  'etc/pam.d/chpasswd': 'password required pam_unix.so\n',
  'etc/pam.d/sudo': 'auth required pam_unix.so\n',
  'etc/security/limits.conf': '* hard maxlogins 100\n',
  'etc/sudoers': 'Defaults timestamp_timeout=15\n%wheel ALL=(ALL:ALL) NOPASSWD: ALL\n',
  'etc/gdm/custom.conf': '[daemon]\nAutomaticLoginEnable=True\nAutomaticLogin=bob\n',
  'sys/class/net/wlan0/flags': '0x1003\n',
  'sys/class/bluetooth/hci0/type': 'primary\n',
}
