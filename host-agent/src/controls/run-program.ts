import path from 'node:path'
import { promisify } from 'node:util'
import { CannotCollect, type RunProgram } from './collector.ts'

export type RunLimits = { readonly ms: number; readonly bytesMax: number }

/** Programs are found in one directory and nowhere else: whoever can write to PATH must not choose what runs as root. */
export function runProgramIn(
  directory: string = PROFILE,
  limits: RunLimits = { ms: 10_000, bytesMax: 1024 * 1024 },
): RunProgram {
  return async (program, argv, environment = {}) => {
    try {
      const { execFile } = await import('node:child_process')
      const { stdout } = await promisify(execFile)(path.join(directory, program), [...argv], {
        timeout: limits.ms,
        maxBuffer: limits.bytesMax,
        killSignal: 'SIGKILL',
        encoding: 'buffer',
        cwd: '/',
        env: { PATH: directory, LC_ALL: 'C', TZ: 'UTC', ...environment },
      })
      return decodeText(stdout, program)
    } catch (error) {
      throw error instanceof CannotCollect ? error : whyNot(program, error, limits)
    }
  }
}

/** Nothing in a prepared tree is executed, and programs of this machine would tell of another one. */
export const runNothing: RunProgram = async (program) => {
  throw new CannotCollect('unsupported', `${program} is not run for a prepared tree`)
}

/** UTF-8 without NUL; anything else is no text that a rule could be about. */
export function decodeText(bytes: Uint8Array, of: string): string {
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    throw new CannotCollect('unreadable', `${of} is not UTF-8`)
  }
  if (text.includes('\0')) throw new CannotCollect('unreadable', `${of} is binary`)
  return text
}

/** What a program wrote to standard error is looked at and stays here: it may quote what must not leave. */
function whyNot(program: string, error: unknown, limits: RunLimits): CannotCollect {
  const facts = typeof error === 'object' && error !== null ? error : {}
  const code = 'code' in facts ? facts.code : null
  if (code === 'ENOENT') return new CannotCollect('absent', `there is no ${program} in the system profile`)
  if (code === 'ERR_CHILD_PROCESS_STDIO_MAXBUFFER')
    return new CannotCollect('too_large', `${program} printed more than ${limits.bytesMax} bytes`)
  if ('killed' in facts && facts.killed === true)
    return new CannotCollect('timeout', `${program} took longer than ${limits.ms / 1000} s`)
  const complaint = 'stderr' in facts && facts.stderr instanceof Uint8Array ? facts.stderr : new Uint8Array()
  if (code === 'EACCES' || code === 'EPERM' || DENIED.test(new TextDecoder().decode(complaint)))
    return new CannotCollect('not_permitted', `${program} is not permitted to look`)
  return new CannotCollect('failed', `${program} ended with ${typeof code === 'number' ? code : 'an error'}`)
}

/** The kernel's own words, and those that auditctl, iptables and systemctl have for them. */
const DENIED = /operation not permitted|permission denied|access denied|must be root/i
const PROFILE = '/run/current-system/sw/bin'
