import { readdirSync, readFileSync } from 'node:fs'

/** Milliseconds of processor that a Postgres server has used, with all of its processes, ended ones included. Linux only. */
export function postgresCpuMs(postmaster: number): number {
  const all = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(statOf)
  const own = all.filter((stat) => stat?.pid === postmaster || stat?.parent === postmaster)
  return own.reduce((sum, stat) => sum + (stat?.ticks ?? 0), 0) * MS_PER_TICK
}

/** proc_pid_stat(5): the name in parentheses may hold anything, so fields are counted behind it. */
function statOf(pid: string): { pid: number; parent: number; ticks: number } | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
    const [, parent] = fields
    const ticks = fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0)
    return { pid: Number(pid), parent: Number(parent), ticks }
  } catch {
    return undefined
  }
}

/** USER_HZ of Linux on every platform that Node runs on. */
const MS_PER_TICK = 10
