import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { enterShared } from './machine-lock.ts'

let directory: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'cf-shared-'))
})
afterEach(() => rmSync(directory, { recursive: true, force: true }))

const fieldsOf = (pid: number): string[] => {
  const line = readFileSync(`/proc/${pid}/stat`, 'utf8')
  return line.slice(line.lastIndexOf(')') + 2).split(' ')
}

/** As `enterShared` of another process does. */
function enterFor(pid: number): void {
  writeFileSync(join(directory, `${pid}-${fieldsOf(pid)[19]}-other`), '')
}

test('the last of several users in one process is told so', async () => {
  const [first, second] = [await enterShared(directory), await enterShared(directory)]
  expect(await first.leave()).toBe(false)
  expect(await second.leave()).toBe(true)
})

test('a user that lives counts, one whose id another process has by now does not', async () => {
  const mine = await enterShared(directory)
  enterFor(process.ppid)
  expect(await mine.leave()).toBe(false)
  rmSync(directory, { recursive: true })
  const again = await enterShared(directory)
  writeFileSync(join(directory, `${process.ppid}-1-other`), '')
  expect(await again.leave()).toBe(true)
})

test('a user that ended below a parent that never asks for it does not count', async () => {
  // The shell becomes a program that does not know of the child that the shell started.
  const parent = spawn('sh', ['-c', 'true & echo $!; exec sleep 60'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  try {
    const [line] = await once(createInterface({ input: parent.stdout }), 'line')
    const pid = Number(line)
    await expect.poll(() => fieldsOf(pid)[0], { timeout: 10_000 }).toBe('Z')
    const mine = await enterShared(directory)
    enterFor(pid)
    expect(await mine.leave()).toBe(true)
  } finally {
    parent.kill('SIGKILL')
  }
})
