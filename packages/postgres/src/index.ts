export { agentReports } from './agent-reports.ts'
export {
  type ApiToken,
  createApiToken,
  findApiToken,
  listApiTokens,
  type Role,
  revokeApiToken,
  type TokenListRow,
} from './api-tokens.ts'
export { type Actor, evidenceOf, keepEvidence, recordEvent } from './audit-events.ts'
export { findBuilderKey } from './builder-keys.ts'
export { builderSeen, greetBuilder } from './builders.ts'
export {
  type CachedPath,
  type ClosureOutcome,
  commitClosure,
  commitPaths,
  holdsBuild,
  missingPaths,
  type PathConflict,
  pathConflicts,
  pathsPublished,
  signedInfo,
  unpublishedPaths,
} from './cache-paths.ts'
export { type CommitReport, listCommitReports } from './commit-controls.ts'
export * from './connect.ts'
export { controlFactsStore } from './control-facts.ts'
export * from './database-url.ts'
export {
  type Closure,
  commitsBetween,
  type DriftFilter,
  type DriftRow,
  listDrift,
  listDriftWithCounts,
  type MissedCommit,
  readClosure,
  showDrift,
} from './drift.ts'
export {
  createEnrollToken,
  ENROLL_TOKEN_STATES,
  type EnrollTokenFilter,
  type EnrollTokenRevoked,
  type EnrollTokenRow,
  listEnrollTokens,
  revokeEnrollToken,
} from './enroll-tokens.ts'
export { enrolments, findEnrolToken } from './enrolment.ts'
export { type EventRow, listEvents } from './events.ts'
export { type FindingFilter, type FindingRow, listFindings, type ScanCoverage } from './findings.ts'
export { ensureFirstTenant } from './first-tenant.ts'
export {
  deactivateFlake,
  type FlakeRow,
  type HookRow,
  listFlakes,
  listHooks,
  pollFlake,
  showFlake,
} from './flakes.ts'
export { applyFleet, type FleetApplication, type FleetOutcome } from './fleet-apply.ts'
export { Overloaded } from './group-commit.ts'
export { type DeliveryNovelty, findHook, type Hook, receiveDelivery } from './hooks.ts'
export { type HostChoice, hostEvidence } from './host-evidence.ts'
export { cancelJob, type JobControl, retryJob } from './job-control.ts'
export { type RecordedResult, recordEvaluationBatch, recordResult } from './job-results.ts'
export { type JobStanding, jobStandings } from './job-standing.ts'
export { beginWork } from './job-work.ts'
export {
  type ClaimedJob,
  claimJob,
  endMootJob,
  enqueueJob,
  heartbeatJob,
  type JobNotes,
  jobStanding,
  RESOLVE_PRIORITY,
} from './jobs.ts'
export { findKeyToReplace, rotations } from './key-rotation.ts'
export * from './lists.ts'
export * from './migrate.ts'
export { MIGRATION_NAMES } from './migration-names.generated.ts'
export { originalReports } from './original-reports.ts'
export { hintsSent, type OutboxRow, takeHints, tenantsWithHints } from './outbox.ts'
export { readMigrations } from './read-migrations.ts'
export { claimNonce, claimNonces, type SpentNonce } from './request-nonces.ts'
export type { Row } from './row.ts'
export { pingDatabase, type ServiceStats, serviceStats } from './service-status.ts'
export {
  addStatement,
  decideStatement,
  listStatements,
  type NewStatement,
  type StatementFilter,
  type StatementRow,
  showStatement,
} from './statements.ts'
export {
  allTenants,
  expireLeases,
  forgetOld,
  hintAgain,
  pollFlakes,
  recordFleetDay,
  scanAgain,
  turnNoncePartitions,
} from './sweep.ts'
export { findSystemKey } from './system-keys.ts'
export {
  addSystemKey,
  deactivateSystem,
  isDuplicate,
  listStates,
  listSystemKeys,
  type RevokedKey,
  revokeKey,
  type StateRow,
  type SystemKeyRow,
  switchOriginalWire,
  unknownHosts,
} from './systems.ts'
export { conflictPauseMs, inTransaction, isConflict, type Scope } from './transaction.ts'
export { inTransactionIf } from './transaction-if.ts'
export { waitingFacts } from './waiting-facts.ts'
export { expireWaivers, expiringWaivers, notifyWaivers } from './waiver-clock.ts'
export {
  draftWaiver,
  knownWaivers,
  listWaivers,
  moveWaiver,
  type NewWaiver,
  showWaiver,
  type WaiverDetail,
  type WaiverFilter,
  type WaiverMove,
  type WaiverRow,
} from './waivers.ts'
export { archiveAgeS, nonceHoursAhead, type TenantWatch, watchTenant } from './watch.ts'
