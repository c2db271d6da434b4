import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, expect, test } from 'vitest'
import { listen } from './listen.ts'

const root = mkdtempSync(join(tmpdir(), 'cf-listen-'))
afterAll(() => rmSync(root, { recursive: true, force: true }))
const open: Server[] = []
afterEach(async () => {
  for (const server of open.splice(0)) await close(server)
})

test('the port of the last start is taken again', async () => {
  const portFile = join(root, 'again')
  const first = server()
  const port = await listen(first, { host: '127.0.0.1', port: 0, portFile })
  await close(first)
  writeFileSync(portFile, `${port}\n`)
  expect(await listen(server(), { host: '127.0.0.1', port: 0, portFile })).toBe(port)
})

test('when somebody else has the port of the last start, a free one is found', async () => {
  const portFile = join(root, 'taken')
  const port = await listen(server(), { host: '127.0.0.1', port: 0, portFile })
  writeFileSync(portFile, `${port}\n`)
  const other = await listen(server(), { host: '127.0.0.1', port: 0, portFile })
  expect(other).not.toBe(port)
})

test('a port that was asked for and is taken is an error that names it', async () => {
  const portFile = join(root, 'wanted')
  const port = await listen(server(), { host: '127.0.0.1', port: 0, portFile })
  await expect(listen(server(), { host: '127.0.0.1', port, portFile })).rejects.toThrow(
    new RegExp(`EADDRINUSE.*${port}`),
  )
})

test.each(['', 'nonsense', '-5', '70000', '1.5'])('a port file that holds %j is ignored', async (text) => {
  const portFile = join(root, 'odd')
  writeFileSync(portFile, text)
  expect(await listen(server(), { host: '127.0.0.1', port: 0, portFile })).toBeGreaterThan(0)
})

function server(): Server {
  const made = createServer()
  open.push(made)
  return made
}

function close(made: Server): Promise<void> {
  return new Promise((resolve) => made.close(() => resolve()))
}
