import { expect, it } from 'vitest'
import { plainValue } from '../../host-agent/src/controls/dconf.ts'
import { recorded } from '../../host-agent/test/collected-hosts.ts'
import {
  asAuditctlLists,
  asAuditctlSays,
  asDconfReads,
  asSshdPrints,
  asTimedatectlShows,
} from './as-programs-print.ts'

const lines = (text: string) => text.split('\n').filter((line) => line !== '')
const inOrder = (text: string) => lines(text).sort()

it('sshd -T', () => {
  const settings = Object.fromEntries(
    lines(recorded('compliant/sshd_config')).map((line) => {
      const at = line.indexOf(' ')
      return [line.slice(0, at), line.slice(at + 1)]
    }),
  )
  // A port makes the addresses that it listens on; the recorded default has those of the same port.
  expect(inOrder(asSshdPrints(recorded('lax/sshd-T.txt'), settings))).toEqual(
    inOrder(recorded('compliant/sshd-T.txt')),
  )
})

it('auditctl -l, but for the order of system calls, which no rule is about', () => {
  const rules = lines(recorded('compliant/audit.rules'))
  const sorted = (text: string) =>
    inOrder(text.replace(/-S (\S+)/g, (_, calls: string) => `-S ${calls.split(',').sort().join(',')}`))
  expect(sorted(asAuditctlLists(rules))).toEqual(sorted(recorded('compliant/auditctl-l.txt')))
  expect(asAuditctlLists(['--loginuid-immutable'])).toBe(recorded('lax/auditctl-l.txt'))
})

it('auditctl -s', () => {
  const rules = lines(recorded('compliant/audit.rules'))
  const withoutPid = (text: string) => text.replace(/^(pid|backlog_wait_time) .*\n/gm, '')
  expect(withoutPid(asAuditctlSays(recorded('lax/auditctl-s.txt'), rules, 8192))).toBe(
    withoutPid(recorded('compliant/auditctl-s.txt')),
  )
  expect(asAuditctlSays(recorded('lax/auditctl-s.txt'), [], 64).replace('enabled 1', 'enabled 0')).toBe(
    recorded('lax/auditctl-s.txt'),
  )
})

it('timedatectl show-timesync', () => {
  const keys = /^(SystemNTPServers|PollIntervalMaxUSec)=.*$/gm
  const said = asTimedatectlShows(
    recorded('lax/timedatectl-show-timesync.txt'),
    recorded('compliant/timesyncd.conf'),
  )
  expect(said.match(keys)).toEqual(recorded('compliant/timedatectl-show-timesync.txt').match(keys))
})

it('dconf read', () => {
  expect(asDconfReads(600)).toBe(recorded('compliant/dconf-idle-delay.txt'))
  const banner = recorded('compliant/dconf-banner.txt')
  expect(asDconfReads(plainValue(banner.trim()))).toBe(banner)
})
