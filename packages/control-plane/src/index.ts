export { parseSealingKey, SealingKey, seal, unseal } from './sealed-secret.ts'
