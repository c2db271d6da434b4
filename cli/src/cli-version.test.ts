import { readFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { CLI_VERSION } from './cli-version.ts'

test('the version is the one of the package', async () => {
  const { version } = JSON.parse(await readFile(new URL('../package.json', import.meta.url), 'utf8'))
  expect(CLI_VERSION).toBe(version)
})
