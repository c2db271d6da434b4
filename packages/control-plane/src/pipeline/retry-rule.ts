import type { FailureClass } from '@crystal-forge/protocol'

/** What follows a failed attempt. */
export type AfterFailure =
  | {
      readonly kind: 'retry'
      readonly pauseS: number
      /** Of a build: how many times the usual memory its next attempt may use. */
      readonly memoryFactor?: number
    }
  /** The failure is the answer; only a person asks again. */
  | { readonly kind: 'verdict' }

/**
 * Whether a job is tried again by itself. `attempt` is how many of its attempts have now failed in this class, this one
 * included. Failures of the machine are; what the source itself causes is not.
 */
export function retryRule(failure: FailureClass, attempt: number): AfterFailure {
  switch (failure) {
    case 'infra': {
      const pauseS = INFRA_PAUSES_S[attempt - 1]
      return pauseS === undefined ? VERDICT : { kind: 'retry', pauseS }
    }
    case 'oom': {
      const memoryFactor = OOM_MEMORY_FACTORS[attempt - 1]
      return memoryFactor === undefined ? VERDICT : { kind: 'retry', pauseS: 0, memoryFactor }
    }
    case 'timeout':
      return attempt <= 1 ? { kind: 'retry', pauseS: 30 } : VERDICT
    case 'build':
    case 'eval':
    case 'hash_mismatch':
    case 'cancelled':
      return VERDICT
  }
}

const VERDICT: AfterFailure = { kind: 'verdict' }
/** Five attempts in all, over six minutes: longer than the restart of a machine or a service. */
const INFRA_PAUSES_S = [5, 15, 60, 300]
/** Beyond four times the usual memory a build is one for a bigger machine, and a person's decision. */
const OOM_MEMORY_FACTORS = [2, 4]
