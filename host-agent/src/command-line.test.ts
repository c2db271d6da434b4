import { generateKeyPair, publicKeyOfSeed, renderSeed } from '@crystal-forge/protocol'
import { describe, expect, it } from 'vitest'
import { parseCommandLine, USAGE } from './command-line.ts'
import { parseToken } from './token.ts'

describe('the command line', () => {
  it.each([
    [[], 'run'],
    [['run'], 'run'],
    [['--check-config', '--config', '/x.toml'], 'check-config'],
    [['observe', '--once', '--json'], 'observe'],
    [['rotate-key'], 'rotate-key'],
    [['enroll', '--token-file', '-'], 'enroll'],
    [['enroll', '--help'], 'help'],
    [['-h'], 'help'],
    [['--version'], 'version'],
  ])('%j is %s', (argv, command) => {
    expect(parseCommandLine(argv).command).toBe(command)
  })

  it('lets options stand for keys of the configuration', () => {
    const line = parseCommandLine(['--server-url', 'https://x', '--private-key', '/k', '--root', '/r'])
    expect(line.environment).toEqual({
      CRYSTAL_FORGE__CLIENT__SERVER_URL: 'https://x',
      CRYSTAL_FORGE__CLIENT__PRIVATE_KEY: '/k',
      CRYSTAL_FORGE__CLIENT__ROOT: '/r',
    })
  })

  it.each<[string[], RegExp]>([
    [['enroll'], /--token-file FILE/],
    [['enrol'], /no command "enrol"/],
    [['run', 'twice'], /unexpected argument "twice"/],
    [['--verbose'], /--verbose/],
    [['--config'], /--config/],
  ])('refuses %j', (argv, message) => {
    expect(() => parseCommandLine(argv)).toThrow(message)
  })

  it('documents every command and exit code', () => {
    for (const word of ['run', 'enroll', 'rotate-key', 'observe', '--check-config', 'Exit codes: 0']) {
      expect(USAGE).toContain(word)
    }
  })
})

describe('a one-time token', () => {
  const { seed, publicKey } = generateKeyPair(() => new Uint8Array(32).fill(0xfb))
  const padded = renderSeed(seed)
  const url = padded.replaceAll('+', '-').replaceAll('/', '_')

  it.each([padded, padded.replace('=', ''), url, url.replace('=', ''), ` ${url}\n`])(
    'is read from %j',
    (text) => {
      const token = parseToken(text)
      expect(token === null ? null : publicKeyOfSeed(token)).toEqual(publicKey)
    },
  )

  it.each(['', 'short', `${padded}x`, padded.slice(1), 'ä'.repeat(43), `${'A'.repeat(42)}B`])(
    'is not %j',
    (text) => {
      expect(parseToken(text)).toBeNull()
    },
  )
})
