import { access, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Command, type CommandOutcome, runCommand } from './run-command.ts'

export type ScopeLimits = {
  /** Bytes, or a number with K, M, G, T, or a percentage of the machine. */
  readonly memoryMax?: string | undefined
  /** 100 is one processor. */
  readonly cpuQuotaPercent?: number | undefined
  readonly tasksMax?: number | undefined
  readonly runtimeMaxSec?: number | undefined
  /** How long a stopped scope may take before it is killed. */
  readonly timeoutStopSec?: number | undefined
  /** More resource properties, `Name=value`, from `scopeProperties`' list. */
  readonly properties?: readonly string[] | undefined
}

export type Scope = {
  /** Unique for each attempt, without `.scope`. Letters, digits, "_", "-" and ".". */
  readonly unit: string
  /** `nixbuilds.slice`; limits are the scope's own, never the slice's. */
  readonly slice: string
  readonly limits: ScopeLimits
  /** A directory of ours where the scope leaves a note about itself. */
  readonly directory: string
}

export type ScopedOutcome = {
  /** `timeout` also when the scope's own RuntimeMaxSec ended it. */
  readonly outcome: CommandOutcome
  /** Processes that the kernel killed for want of memory in this scope; null when the scope could not be asked. */
  readonly oomKills: number | null
}

/** Whether systemd manages this machine; containers and CI often have the programs without the manager. */
export async function systemdState(): Promise<
  { readonly kind: 'running' } | { readonly kind: 'absent'; readonly reason: string }
> {
  try {
    await access('/run/systemd/system')
    return { kind: 'running' }
  } catch {
    return { kind: 'absent', reason: 'systemd does not manage this machine' }
  }
}

/**
 * Runs a program with all its descendants in a systemd scope with limits. A timeout or a cancellation stops the scope: nothing that was
 * started in it stays alive, whatever session or group it moved to. The scope is gone when the promise resolves.
 * @throws RangeError for a unit name or a property that is not allowed.
 */
export async function runInScope(scope: Scope, command: Command): Promise<ScopedOutcome> {
  if (!UNIT_NAME.test(scope.unit)) throw new RangeError(`not a unit name: ${JSON.stringify(scope.unit)}`)
  if (!/^[A-Za-z0-9][A-Za-z0-9_.-]{0,199}\.slice$/.test(scope.slice))
    throw new RangeError(`not a slice: ${JSON.stringify(scope.slice)}`)
  const note = join(scope.directory, `${scope.unit}.scope-note`)
  const properties = scopeProperties(scope.limits)
  await writeFile(note, '', { mode: 0o600 })
  const stop = stopper(scope, command)
  try {
    const inner = await runCommand({
      ...command,
      program: 'systemd-run',
      args: [
        '--scope',
        '--quiet',
        `--unit=${scope.unit}`,
        `--slice=${scope.slice}`,
        ...properties.flatMap((property) => ['-p', property]),
        '--',
        '/bin/sh',
        '-c',
        IN_SCOPE,
        'scope',
        note,
        command.program,
        ...command.args,
      ],
      timeoutMs: command.timeoutMs + STOP_MS_MAX,
      signal: stop.signal,
    })
    return await judge(scope, command, { inner, stopped: stop.because(), note: await readFile(note, 'utf8') })
  } finally {
    stop.settle()
    await systemctl(command, ['stop', `${scope.unit}.scope`])
    await systemctl(command, ['reset-failed', `${scope.unit}.scope`])
    await rm(note, { force: true })
  }
}

/**
 * The `-p` arguments of systemd-run.
 * @throws RangeError for a value that is malformed and for a property that does more than limit resources.
 */
export function scopeProperties(limits: ScopeLimits): readonly string[] {
  const properties: string[] = []
  if (limits.memoryMax !== undefined)
    properties.push(
      `MemoryMax=${matching('memoryMax', limits.memoryMax, /^\d{1,18}[KMGT]?$|^\d{1,3}%$|^infinity$/)}`,
    )
  if (limits.cpuQuotaPercent !== undefined)
    properties.push(`CPUQuota=${positive('cpuQuotaPercent', limits.cpuQuotaPercent)}%`)
  if (limits.tasksMax !== undefined) properties.push(`TasksMax=${positive('tasksMax', limits.tasksMax)}`)
  if (limits.runtimeMaxSec !== undefined)
    properties.push(`RuntimeMaxSec=${positive('runtimeMaxSec', limits.runtimeMaxSec)}`)
  if (limits.timeoutStopSec !== undefined)
    properties.push(`TimeoutStopSec=${positive('timeoutStopSec', limits.timeoutStopSec)}`)
  for (const property of limits.properties ?? [])
    properties.push(matching('properties', property, EXTRA_PROPERTY))
  return properties
}

type Stopper = {
  readonly signal: AbortSignal
  because(): 'timeout' | 'cancelled' | undefined
  settle(): void
}

/** Stops the scope on a timeout or a cancellation; only when systemd cannot do it the process group is ended the plain way. */
function stopper(scope: Scope, command: Command): Stopper {
  const plain = new AbortController()
  let reason: 'timeout' | 'cancelled' | undefined
  const stop = (because: 'timeout' | 'cancelled'): void => {
    if (reason !== undefined) return
    reason = because
    void systemctl(command, ['stop', `${scope.unit}.scope`]).then((done) => {
      if (!done) plain.abort()
    })
  }
  const timer = setTimeout(() => stop('timeout'), command.timeoutMs)
  const cancel = (): void => stop('cancelled')
  if (command.signal?.aborted) {
    reason = 'cancelled'
    plain.abort()
  }
  command.signal?.addEventListener('abort', cancel, { once: true })
  return {
    signal: plain.signal,
    because: () => reason,
    settle() {
      clearTimeout(timer)
      command.signal?.removeEventListener('abort', cancel)
    },
  }
}

async function judge(
  scope: Scope,
  command: Command,
  run: {
    readonly inner: CommandOutcome
    readonly stopped: 'timeout' | 'cancelled' | undefined
    readonly note: string
  },
): Promise<ScopedOutcome> {
  const { inner, stopped, note } = run
  const { stderr } = inner
  if (stopped === 'timeout')
    return { outcome: { kind: 'timeout', afterMs: command.timeoutMs, stderr }, oomKills: null }
  if (stopped === 'cancelled') return { outcome: { kind: 'cancelled', stderr }, oomKills: null }
  if (!note.startsWith('started\n')) {
    const message = stderr.trim().split('\n').at(-1) ?? ''
    return {
      outcome: { kind: 'failed-to-start', message: `systemd-run made no scope: ${message}`, stderr },
      oomKills: null,
    }
  }
  const result = await scopeResult(scope, command)
  if (result === 'timeout') {
    return {
      outcome: { kind: 'timeout', afterMs: (scope.limits.runtimeMaxSec ?? 0) * 1000, stderr },
      oomKills: null,
    }
  }
  const counted = /^oom_kill (\d+)$/m.exec(note)?.[1]
  if (result === 'oom-kill') return { outcome: inner, oomKills: Math.max(1, Number(counted ?? 0)) }
  return { outcome: inner, oomKills: counted === undefined ? null : Number(counted) }
}

/** `oom-kill` is told on cgroup v2 only; a scope that ended well is forgotten at once and counts as `success`. */
async function scopeResult(scope: Scope, command: Command): Promise<string> {
  const outcome = await runCommand(
    systemctlCommand(command, ['show', '--property=Result', '--value', `${scope.unit}.scope`]),
  )
  return outcome.kind === 'exited' ? outcome.stdout.trim() : ''
}

async function systemctl(command: Command, args: readonly string[]): Promise<boolean> {
  const outcome = await runCommand(systemctlCommand(command, args))
  return outcome.kind === 'exited' && outcome.code === 0
}

function systemctlCommand(command: Command, args: readonly string[]): Command {
  const { PATH = '/usr/bin:/bin' } = command.env
  return {
    program: 'systemctl',
    args: ['--quiet', '--no-ask-password', ...args],
    env: { PATH, LC_ALL: 'C' },
    timeoutMs: STOP_MS_MAX,
  }
}

function positive(name: string, value: number): number {
  if (!Number.isSafeInteger(value) || value < 1)
    throw new RangeError(`${name} must be a whole number above 0, not ${value}`)
  return value
}

function matching(name: string, value: string, shape: RegExp): string {
  if (!shape.test(value))
    throw new RangeError(
      `${name} cannot be ${JSON.stringify(value.slice(0, 200))}; a resource limit such as ${EXAMPLES[name] ?? 'MemoryMax=4G'} is expected`,
    )
  return value
}

/**
 * Runs the program and then, still inside the scope, notes how often the kernel killed for memory: the counter is gone with the scope, and
 * on cgroup v1 systemd never learns of it. Builtins of the shell only.
 */
const IN_SCOPE = `
note=$1; shift
echo started > "$note"
"$@"
code=$?
while IFS=: read -r id controllers path; do
  case ",$controllers," in
    ,,) file=/sys/fs/cgroup$path/memory.events ;;
    *,memory,*) file=/sys/fs/cgroup/memory$path/memory.oom_control ;;
    *) continue ;;
  esac
  [ -r "$file" ] || continue
  while read -r key value; do
    [ "$key" = oom_kill ] && echo "oom_kill $value" >> "$note"
  done < "$file"
done < /proc/self/cgroup
exit $code`

const UNIT_NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,199}$/
const EXTRA_PROPERTY =
  /^(Memory(Min|Low|High|Max|SwapMax|Accounting)|CPU(Weight|Quota|QuotaPeriodSec|Accounting)|AllowedCPUs|Tasks(Max|Accounting)|IO(Weight|Accounting|ReadBandwidthMax|WriteBandwidthMax|ReadIOPSMax|WriteIOPSMax|DeviceWeight)|Kill(Mode|Signal)|OOMPolicy|Device(Allow|Policy)|IPAccounting)=[A-Za-z0-9%/. _-]{1,200}$/
const EXAMPLES: Readonly<Record<string, string>> = { memoryMax: '4G', properties: 'MemorySwapMax=2G' }
/** systemd kills what has not stopped after TimeoutStopSec, 90 s unless it is set. */
const STOP_MS_MAX = 660_000
