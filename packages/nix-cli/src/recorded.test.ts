import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { storePath } from '@crystal-forge/protocol'
import { describe, expect, it } from 'vitest'
import { classOf, parseBuildFailure } from './build.ts'
import { parseDerivations } from './derivation.ts'
import { nixErrorMessage } from './nix-error.ts'
import { isSupported, parseNixVersion } from './nix-version.ts'
import { parsePathInfo } from './path-info.ts'

const recorded = (version: string, file: string) =>
  readFileSync(join(import.meta.dirname, '../../../test/fixtures/recorded', `nix-${version}`, file), 'utf8')

const PLATFORM = /platform mismatch|is required to build/
const openssl = storePath('/nix/store/1pw69qabizdyy7v56wzw8l1hp1gg2ddq-openssl-3.0.13')
const glibc = storePath('/nix/store/rs04dzjr8q8rb7vnsai1nljhnyik5sm3-glibc-2.40-66')
const source = storePath('/nix/store/rk2d2nlkn8vim0j4581nmwzfhgyfn1c3-a.txt')

describe.each(['2.8', '2.26', '2.34'])('what Nix %s prints', (version) => {
  it('its version', () => {
    const parsed = parseNixVersion(recorded(version, 'version.txt'))
    expect(parsed?.text).toMatch(new RegExp(`^${version.replace('.', '\\.')}\\.\\d+$`))
    expect(parsed !== null && isSupported(parsed)).toBe(true)
  })

  it.each(['path-info.json', ...(version === '2.34' ? ['path-info-format-2.json'] : [])])(
    '%s: signed, unsigned, content addressed',
    (file) => {
      const { infos, absent } = parsePathInfo(recorded(version, file))
      expect(absent).toEqual([])
      expect(infos.size).toBe(3)
      expect(infos.get(openssl)).toEqual({
        path: openssl,
        narHash: 'sha256-8jZJ/Wr4XI8RdTHABUxHGb2dvHMxjmK+qDceXBZEoEo=',
        narSize: 192,
        references: [glibc],
        deriver: '/nix/store/m40kr1gbcky87gsf6azxhbd9fmymn4ag-openssl-3.0.13.drv',
        signatures: [expect.stringMatching(/^fleet-1:/)],
        ca: null,
      })
      expect(infos.get(source)).toMatchObject({
        deriver: null,
        signatures: [],
        references: [],
        ca: 'fixed:r:sha256:1xmr8jicvzszfzpz46g37mlpvbzjl2wpwvl2b05psipssyp1sm8h',
      })
    },
  )

  it.each(['path-info-absent.json', ...(version === '2.34' ? ['path-info-absent-format-2.json'] : [])])(
    '%s is an absent path',
    (file) => {
      const { infos, absent } = parsePathInfo(recorded(version, file))
      expect([infos.size, absent]).toEqual([0, ['/nix/store/00000000000000000000000000000000-absent']])
    },
  )

  it('a closure in which every reference is present', () => {
    const { infos } = parsePathInfo(recorded(version, 'path-info-closure.json'))
    expect(infos.size).toBe(37)
    for (const info of infos.values())
      for (const reference of info.references) expect(infos.has(reference)).toBe(true)
  })

  it('derivations with one and several outputs', () => {
    const derivations = parseDerivations(recorded(version, 'derivation-show.json'))
    expect(
      derivations.get(storePath('/nix/store/m40kr1gbcky87gsf6azxhbd9fmymn4ag-openssl-3.0.13.drv')),
    ).toMatchObject({
      name: 'openssl-3.0.13',
      system: 'x86_64-linux',
      builder: '/bin/sh',
      outputs: new Map([['out', openssl]]),
      inputDerivations: ['/nix/store/6ds79qr59kcbfyi06w0v7nvpzawyc6cc-glibc-2.40-66.drv'],
      inputSources: [],
      env: { version: '3.0.13' },
    })
    const multi = derivations.get(storePath('/nix/store/k50wh8fn2f8spd44x6ckfbqz379p4f5w-multi-1.0.drv'))
    expect(new Set(multi?.outputs.keys())).toEqual(new Set(['dev', 'out']))
    expect(multi?.inputSources).toEqual([source])
  })

  it.each([
    ['broken-build', 100, 'build', /-nginx-1\.27\.0\.drv$/, 'builder failed with exit code 2'],
    ['build-killed', 100, 'build', /-killed-1\.0\.drv$/, 'builder failed due to signal 9 (Killed)'],
    [
      'build-hash',
      102,
      'hash_mismatch',
      /-hash-1\.0\.drv$/,
      'the content does not have the hash that the derivation promises',
    ],
    [
      'build-noout',
      1,
      'build',
      /-noout-1\.0\.drv$/,
      expect.stringContaining("builder failed to produce output path for output 'out'"),
    ],
    ['build-wrongsys', 1, 'infra', /-wrongsys\.drv$/, expect.stringMatching(PLATFORM)],
  ])('%s, code %i, is %s and names the derivation', (file, code, cause, drv, reason) => {
    const stderr = recorded(version, `${file}.stderr.txt`)
    const failure = parseBuildFailure(stderr)
    expect(failure).toEqual({
      drvPath: expect.stringMatching(drv),
      reason,
      cause: cause === 'infra' ? 'platform' : cause,
    })
    expect(classOf({ kind: 'exited', code, stdout: '', stderr }, { oomKills: null, failure })).toBe(cause)
  })

  it('a timeout', () => {
    const stderr = recorded(version, 'build-slow.stderr.txt')
    const failure = parseBuildFailure(stderr)
    expect(failure?.reason ?? nixErrorMessage(stderr)).toMatch(/^timed out after 1 seconds/)
    expect(classOf({ kind: 'exited', code: 101, stdout: '', stderr }, { oomKills: 0, failure })).toBe(
      'timeout',
    )
  })

  it('the one line of an evaluation error that a person needs', () => {
    expect(nixErrorMessage(recorded(version, 'broken-eval.stderr.txt'))).toBe(
      "The option `services.ngnix.enable' does not exist. Definition values: in `hosts/broken-eval.nix': true. Did you mean `services.nginx.enable'?",
    )
  })
})

describe('what no Nix prints', () => {
  it.each([
    '',
    'null',
    '[1]',
    '{"a":1}',
    '[{"path":"/etc/passwd","valid":false}]',
    '{"/nix/store/../x":null}',
    '{"info":{},"storeDir":"/gnu/store","version":2}',
  ])('is refused as path info: %s', (json) => {
    expect(() => parsePathInfo(json)).toThrow(RangeError)
  })
  it.each([
    '',
    '[]',
    '{"derivations":{"x":{}},"version":4}',
    '{"/nix/store/1pw69qabizdyy7v56wzw8l1hp1gg2ddq-openssl-3.0.13":{}}',
  ])('is refused as derivations: %s', (json) => {
    expect(() => parseDerivations(json)).toThrow(RangeError)
  })
  it.each(['', 'nix (Nix) two', 'bash 5.2'])('is no version: %j', (text) => {
    expect(parseNixVersion(text)).toBeNull()
  })
  it('a pre-release has a version', () => {
    expect(parseNixVersion('nix (Nix) 2.18pre20230920_abc')).toMatchObject({ major: 2, minor: 18, patch: 0 })
    expect(parseNixVersion('nix (Lix, like Nix) 2.91.1\n')).toMatchObject({ major: 2, minor: 91, patch: 1 })
  })
})

describe('the end of a build', () => {
  const failure = {
    drvPath: storePath('/nix/store/m40kr1gbcky87gsf6azxhbd9fmymn4ag-openssl-3.0.13.drv'),
    reason: 'builder failed with exit code 137',
    cause: 'build',
  } as const
  const exited = (code: number) => ({ kind: 'exited', code, stdout: '', stderr: '' }) as const
  it.each([
    [
      'cancelled, whatever else',
      { kind: 'cancelled', stderr: '' } as const,
      { oomKills: 1, failure },
      'cancelled',
    ],
    ['a kill for memory', exited(100), { oomKills: 1, failure }, 'oom'],
    ['code 137 without a kill for memory', exited(100), { oomKills: 0, failure }, 'build'],
    ['code 137 of nix-store itself', exited(137), { oomKills: 0, failure: null }, 'infra'],
    [
      'a signal',
      { kind: 'signalled', signal: 'SIGKILL', stderr: '' } as const,
      { oomKills: null, failure: null },
      'infra',
    ],
    [
      'a hash mismatch that a daemon tells in words',
      exited(1),
      { oomKills: null, failure: { ...failure, cause: 'hash_mismatch' } as const },
      'hash_mismatch',
    ],
    ['an unknown error', exited(1), { oomKills: null, failure: null }, 'infra'],
    ['a timeout and a hash mismatch', exited(103), { oomKills: null, failure: null }, 'timeout'],
    ['a build that differs when repeated', exited(104), { oomKills: null, failure: null }, 'build'],
  ])('%s', (_, outcome, evidence, cause) => {
    expect(classOf(outcome, evidence)).toBe(cause)
  })
})

describe('an error message', () => {
  it('keeps the lines that belong to it and drops the place and the trace', () => {
    expect(
      nixErrorMessage(
        "error: first\nerror: two\n  lines\n\n       at /nix/store/x:1:2:\n(use '--show-trace' to see)",
      ),
    ).toBe('two\nlines')
    expect(nixErrorMessage('\u001b[31;1merror:\u001b[0m red')).toBe('red')
    expect(nixErrorMessage('warning: nothing')).toBeNull()
  })
})
