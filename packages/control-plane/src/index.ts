export { type CheckedBuild, checkBuild, type ExpectedBuild } from './pipeline/check-build.ts'
export { type JudgedPush, judgePush } from './pipeline/judge-push.ts'
export {
  fitsKind,
  type HeldJob,
  type Holding,
  type JobState,
  judgeHolding,
  whyNotClaimed,
} from './pipeline/judge-result.ts'
export { type Publishable, publishWaves, type Waves } from './pipeline/publish-waves.ts'
export { type AfterFailure, retryRule } from './pipeline/retry-rule.ts'
export type { AgentPrincipal, BuilderPrincipal, Principal } from './principals.ts'
export { parseSealingKey, SealingKey, seal, unseal } from './sealed-secret.ts'
