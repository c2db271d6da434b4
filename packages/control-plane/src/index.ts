export type { AgentPrincipal, BuilderPrincipal, Principal } from './principals.ts'
export { parseSealingKey, SealingKey, seal, unseal } from './sealed-secret.ts'
