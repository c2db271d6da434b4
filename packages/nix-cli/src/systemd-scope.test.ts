import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { ScopeReport } from './scope-scenario.ts'
import { runInScope, scopeProperties } from './systemd-scope.ts'
import { testNix } from './test-nix.ts'

/** Starts a systemd of its own; lies beside the repository where that is possible. */
const withSystemd = join(import.meta.dirname, '../../../../shared/tools/with-systemd.sh')
const nix = await testNix()
const runner = scopeRunner()
const directory = realpathSync(mkdtempSync(join(tmpdir(), 'scope-')))
let report: ScopeReport

describe.skipIf(runner.kind === 'none')(`a scope ${runner.note}`, () => {
  beforeAll(() => {
    const command = [
      process.execPath,
      join(import.meta.dirname, 'scope-scenario.ts'),
      directory,
      String(process.pid),
    ]
    const [program = '', ...args] = runner.kind === 'none' ? [] : [...runner.prefix, ...command]
    const output = execFileSync(program, args, {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'inherit'],
      timeout: 110_000,
    })
    report = JSON.parse(/^REPORT (.*)$/m.exec(output)?.[1] ?? '')
  }, 120_000)
  afterAll(() => rmSync(directory, { recursive: true, force: true }))

  it('passes on code, output and errors, and its name can be used again', () => {
    expect(report.available).toEqual({ kind: 'scope' })
    expect(report.code.outcome).toEqual({ kind: 'exited', code: 7, stdout: 'out\n', stderr: 'err\n' })
    expect(report.again.outcome).toMatchObject({ kind: 'exited', code: 0 })
  })

  it('knows that the kernel killed for memory', () => {
    expect(report.oom.oomKills).toBeGreaterThan(0)
    expect(report.code.oomKills === null || report.code.oomKills === 0).toBe(true)
  })

  it('ends on our timeout and on its own, and its name can be used again', () => {
    expect(report.timeout.outcome).toMatchObject({ kind: 'timeout', afterMs: 500 })
    expect(report.runtime.outcome).toMatchObject({ kind: 'timeout', afterMs: 1000 })
    expect(report.runtimeAgain.outcome).toMatchObject({ kind: 'exited', code: 0 })
  })

  it('whose name or slice is more than a name is refused', async () => {
    const command = { program: '/bin/true', args: [], env: {}, timeoutMs: 1_000 }
    const scope = { unit: 'a', slice: 'b.slice', limits: {}, directory }
    await expect(runInScope({ ...scope, unit: 'a/b' }, command)).rejects.toThrow('not a unit name')
    await expect(runInScope({ ...scope, slice: 'b' }, command)).rejects.toThrow('not a slice')
  })

  it('that cannot be made is no failure of the program', () => {
    expect(report.badProperty.outcome).toMatchObject({ kind: 'failed-to-start' })
    expect(report.aborted.outcome).toMatchObject({ kind: 'cancelled' })
  })

  it('takes along what left its process group', () => {
    expect(report.escapee).toMatchObject({ outcome: { outcome: { kind: 'cancelled' } }, left: 0 })
    expect(report.leftover).toEqual({ code: 0, active: 'inactive' })
  })

  describe.skipIf(nix.kind === 'none')(`of a build ${nix.note}`, () => {
    it('holds the builder itself', () => {
      expect(report.builds?.inScope).toMatchObject({ kind: 'built' })
      expect(report.builds?.cgroup).toContain(`/nixbuilds.slice/in-scope-${process.pid}.scope`)
    })

    it('tells memory, time, cancellation and a plain failure apart', () => {
      expect(report.builds?.oom).toMatchObject({
        kind: 'failed',
        class: 'oom',
        message: 'oom: the build needed more memory than it may have',
      })
      expect(report.builds?.runtime).toMatchObject({ kind: 'failed', class: 'timeout' })
      expect(report.builds?.cancelled).toMatchObject({ kind: 'failed', class: 'cancelled' })
      expect(report.builds?.failed).toMatchObject({
        kind: 'failed',
        class: 'build',
        message: 'failed: builder failed with exit code 3\ntelling words',
      })
    })
  })
})

describe('limits of a scope', () => {
  it('become properties', () => {
    expect(
      scopeProperties({
        memoryMax: '4G',
        cpuQuotaPercent: 300,
        tasksMax: 3000,
        runtimeMaxSec: 60,
        timeoutStopSec: 10,
        properties: ['MemorySwapMax=2G', 'IOWeight=50'],
      }),
    ).toEqual([
      'MemoryMax=4G',
      'CPUQuota=300%',
      'TasksMax=3000',
      'RuntimeMaxSec=60',
      'TimeoutStopSec=10',
      'MemorySwapMax=2G',
      'IOWeight=50',
    ])
    expect(scopeProperties({})).toEqual([])
  })

  it.each([
    { memoryMax: 'banana' },
    { memoryMax: '4G -p User=root' },
    { cpuQuotaPercent: 0 },
    { tasksMax: 1.5 },
    { runtimeMaxSec: Number.NaN },
    { properties: ['ExecStartPre=/bin/x'] },
    { properties: ['User=root'] },
    { properties: ['Environment=LD_PRELOAD=/x'] },
    { properties: ['MemoryMax=1G\nUser=root'] },
    { properties: ['MemoryMax'] },
    { properties: ['-p'] },
  ])('are refused when they could be more: %j', (limits) => {
    expect(() => scopeProperties(limits)).toThrow(RangeError)
  })
})

function scopeRunner():
  | { kind: 'none'; note: string }
  | { kind: 'run'; note: string; prefix: readonly string[] } {
  if (process.getuid?.() !== 0) return { kind: 'none', note: '(skipped: root is needed)' }
  if (readFileSync('/proc/1/comm', 'utf8').trim() === 'systemd' && existsSync('/run/systemd/system')) {
    return { kind: 'run', note: '(the systemd of this machine)', prefix: [] }
  }
  if (existsSync(withSystemd)) return { kind: 'run', note: '(a systemd of its own)', prefix: [withSystemd] }
  return { kind: 'none', note: '(skipped: systemd is not PID 1 and no tool starts one)' }
}
