import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { catalogueRule, type Normaliser } from '@crystal-forge/protocol'
import { describe, expect, it } from 'vitest'
import * as z from 'zod'
import { type Catalogue, catalogueSha256, readCatalogue } from './catalogue.ts'
import type { Json } from './json-value.ts'
import { judge } from './judge.ts'

const folder = fileURLToPath(new URL('../../../../catalogue', import.meta.url))
const files: ReadonlyMap<string, Uint8Array> = new Map(
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => {
      const file = path.join(entry.parentPath, entry.name)
      return [path.relative(folder, file), readFileSync(file)] as const
    }),
)

function catalogue(): Catalogue {
  const read = readCatalogue(files)
  if (!read.ok) throw new Error(read.faults.join('\n'))
  return read.catalogue
}

/** The same catalogue with one file changed. */
function changed(name: string, change: (content: Record<string, unknown>) => void): readonly string[] {
  const content = JSON.parse(Buffer.from(files.get(name) ?? []).toString('utf8'))
  change(content)
  const read = readCatalogue(new Map([...files, [name, Buffer.from(JSON.stringify(content))]]))
  return read.ok ? [] : read.faults
}

const RULE = 'anix/rules/V-268078.json'

describe('the catalogue of the Anduril NixOS STIG', () => {
  it('holds 103 rules in V1R2 and 104 in V1R1, by category', () => {
    const count = (release: string): Record<string, number> => {
      const rules = [...catalogue().rules.values()].filter(
        (rule) => typeof rule.releases[release] === 'object',
      )
      return Object.fromEntries(
        (['high', 'medium', 'low'] as const).map((severity) => [
          severity,
          rules.filter((rule) => rule.severity === severity).length,
        ]),
      )
    }
    expect(count('V1R2')).toEqual({ high: 11, medium: 91, low: 1 })
    expect(count('V1R1')).toEqual({ high: 11, medium: 92, low: 1 })
  })

  it('knows which rules the configuration decides, the host shows, and a person must attest', () => {
    const rules = [...catalogue().rules.values()].filter((rule) => typeof rule.releases['V1R2'] === 'object')
    const by = (key: (rule: (typeof rules)[number]) => string): Record<string, number> => {
      const counts: Record<string, number> = {}
      for (const rule of rules) counts[key(rule)] = (counts[key(rule)] ?? 0) + 1
      return counts
    }
    expect(by((rule) => rule.assess.config.mode)).toEqual({ full: 74, partial: 11, none: 18 })
    expect(by((rule) => rule.assess.human.need)).toEqual({ yes: 10, cond: 10, no: 83 })
  })

  it('covers 86 of the 103 rules with the 25 names of the original', () => {
    const { banner: _, account_expiry: __, ...original } = catalogue().aliases
    expect(Object.keys(original)).toHaveLength(25)
    expect(new Set(Object.values(original).flatMap(({ rules }) => rules)).size).toBe(86)
  })

  it('names every CCI of the rules with its control of NIST SP 800-53', () => {
    const { rules, cci } = catalogue()
    const current = [...rules.values()].filter((rule) => typeof rule.releases['V1R2'] === 'object')
    const named = new Set(current.flatMap((rule) => rule.cci))
    expect(named.size).toBe(126)
    expect(new Set([...named].map((id) => cci.ccis[id]?.control)).size).toBe(77)
  })

  it('has the digest that is recomputed from its bytes alone', () => {
    expect(catalogue().sha256).toBe(catalogueSha256(new Map([...files].reverse())))
    // printf '%s  a\n' "$(printf x | sha256sum | cut -d' ' -f1)" | sha256sum
    expect(catalogueSha256(new Map([['a', Buffer.from('x')]]))).toBe(
      '4a4b874a1e9776a52e38fd82a053825f309f46187a803a0fc0c6670c6670e768',
    )
  })

  it.each([
    [
      'a rule without assess',
      RULE,
      (rule: Record<string, unknown>) => delete rule['assess'],
      /V-268078.json: assess/,
    ],
    [
      'an unknown CCI',
      RULE,
      (rule: Record<string, unknown>) => (rule['cci'] = ['CCI-999999']),
      /V-268078: unknown CCI CCI-999999/,
    ],
    [
      'an unknown requirement',
      RULE,
      (rule: Record<string, unknown>) => (rule['srg'] = ['SRG-OS-999999-GPOS-00001']),
      /unknown SRG requirement/,
    ],
    [
      'a rule under another name',
      RULE,
      (rule: Record<string, unknown>) => (rule['id'] = 'V-268999'),
      /id is V-268999/,
    ],
    ['an unknown field', RULE, (rule: Record<string, unknown>) => (rule['note'] = 'x'), /note/],
    [
      'an alias of an unknown rule',
      'anix/aliases.json',
      (aliases: Record<string, unknown>) => (aliases['ssh'] = { rules: ['V-000001'] }),
      /ssh names the unknown rule V-000001/,
    ],
    [
      'an unknown collector',
      'collectors.json',
      (all: Record<string, unknown>) => delete all['netfilter'],
      /V-268078: unknown collector netfilter/,
    ],
    [
      'an undeclared parameter',
      'anix/rules/V-268149.json',
      (rule: Record<string, unknown>) => (rule['params'] = []),
      /V-268149: unknown parameter timeServers/,
    ],
  ])('is refused with %s', (_, name, change, message) => {
    expect(changed(name, change).join('\n')).toMatch(message)
  })

  it('is refused with a file that is not JSON or is missing', () => {
    expect(readCatalogue(new Map([...files, [RULE, Buffer.from('{')]]))).toMatchObject({ ok: false })
    const without = new Map([...files].filter(([name]) => name !== 'cci.json'))
    expect(readCatalogue(without)).toEqual({ ok: false, faults: ['cci.json: is missing'] })
  })

  it('has a JSON Schema of its rule files that says what the program checks', () => {
    const written = JSON.parse(Buffer.from(files.get('rule.schema.json') ?? []).toString('utf8'))
    expect(written).toEqual(JSON.parse(JSON.stringify(z.toJSONSchema(catalogueRule, { io: 'input' }))))
  })
})

describe('the operators', () => {
  it.each(catalogue().vectors.map((vector) => [JSON.stringify(vector), vector] as const))(
    '%s',
    (_, vector) => {
      const { op, actual, expected, arg, normalise = [], verdict } = vector
      expect(judge({ op, actual, expected, arg, normalise }).kind).toBe(verdict)
    },
  )

  it.each<[string, Json, readonly Normaliser[]]>([
    ['slashes', [`-w ${'/'.repeat(1_000_000)}x`], ['audit-rule']],
    ['system calls', [`-a always,exit -S ${'a,'.repeat(500_000)}x`], ['audit-rule']],
    [
      'rules that say never',
      [...Array.from({ length: 50_000 }, () => '-A never,exit'), '-w /x'],
      ['audit-rule'],
    ],
    ['names of parameters', `Defaults ${'a'.repeat(1_000_000)}\u2028x`, ['sudo-default']],
    ['quotes', `Defaults ${'"a",'.repeat(250_000)}"`, ['sudo-default']],
    ['letters before a tag', `${'a :'.repeat(333_000)}NOPASSWD`, ['sudo-without-password']],
    ['letters of a keyword', `${'k'.repeat(1_000_000)}\u2028x`, ['kv-all']],
    ['arguments', `auth x y ${'k=1 '.repeat(250_000)}`, ['pam-args']],
    ['numbers of comments', [`a ${'#'.repeat(1_000_000)}\u2028x`], ['pam']],
    ['names of modules', [`a b ${'c'.repeat(1_000_000)} \u2028x`], ['pam-module']],
    ['keys', `${'k'.repeat(1_000_000)} \u2028x`, ['kv']],
    ['digits', `${'1'.repeat(1_000_000)}x`, ['seconds', 'int']],
    ['spaces', `a${' \t'.repeat(500_000)}\u2028x`, ['text']],
  ])('take as many %s as a message of a host can hold', (_, actual, normalise) => {
    // What tries each place again would need an hour, for one host whose root is hostile.
    expect(judge({ op: 'contains', actual, expected: ['x'], arg: 'k', normalise }).kind).not.toBe('true')
  })

  it('know no unit of time that every object has', () => {
    const asked = {
      op: 'le',
      actual: '5constructor',
      expected: 10,
      arg: undefined,
      normalise: ['seconds'],
    } as const
    expect(judge(asked)).toEqual({
      kind: 'unknown',
      because: expect.stringContaining('"5constructor" is not'),
      missing: false,
    })
  })

  it('each have vectors of every verdict that they can give', () => {
    const given = new Map<string, Set<string>>()
    for (const { op, verdict } of catalogue().vectors)
      given.set(op, (given.get(op) ?? new Set()).add(verdict))
    for (const [op, verdicts] of given)
      expect([op, [...verdicts].sort((a, b) => a.localeCompare(b))]).toEqual([
        op,
        op === 'absent' || op === 'present' ? ['false', 'true'] : ['false', 'true', 'unknown'],
      ])
    expect(given.size).toBe(15)
  })
})
