export { answerReport, REPORT_EVERY_S_DEFAULT } from './agents/answer-report.ts'
export {
  type Enrolled,
  type Enrolment,
  type Enrolments,
  isForHost,
  namesOneHost,
  type Rotated,
  type Rotation,
  type Rotations,
  type Spent,
  type TokenPrincipal,
} from './agents/enrolment.ts'
export {
  type OriginalReports,
  type OriginalRoute,
  type OriginalSender,
  recordOriginalReport,
} from './agents/record-original-report.ts'
export { type Arrival, recordReport } from './agents/record-report.ts'
export type { Ingested, Reports, StateRow, VerifiedReport } from './agents/reports.ts'
export {
  type AssessedHost,
  type AssessedRule,
  type Assessment,
  type AssessmentSnapshot,
  assess,
  type HostEvidence,
  type KnownWaiver,
  rulesOf,
} from './controls/assess.ts'
export {
  alternativesOf,
  type Catalogue,
  catalogueSha256,
  type ReadCatalogue,
  readCatalogue,
} from './controls/catalogue.ts'
export {
  type ConfigurationChange,
  type ConfigurationChanges,
  configurationChanges,
  countFlips,
  type Flip,
  flipsBetween,
} from './controls/changes.ts'
export {
  checksOf,
  defaultPolicy,
  type EvaluationEvidence,
  type EvidencePolicy,
  type HumanEvidence,
  type RuntimeEvidence,
  resolveParams,
} from './controls/evidence.ts'
export {
  EXPORT_FORMATS,
  type ExportFormat,
  fileNameOf,
  MEDIA_TYPES,
  ONE_HOST_FORMATS,
  writeExport,
} from './controls/export/formats.ts'
export { manifestOf } from './controls/export/manifest.ts'
export { STATUS_OF, type Status as ChecklistStatus } from './controls/export/words.ts'
export { type AdoptedRelease, type AdoptRelease, adoptRelease } from './controls/import/adopt-release.ts'
export { type ComparedChecklist, compareChecklist } from './controls/import/compare-checklist.ts'
export { type Checklist, type ReadChecklist, readChecklist } from './controls/import/read-checklist.ts'
export { type Benchmark, type ReadBenchmark, readBenchmark } from './controls/import/read-xccdf.ts'
export { releaseFlips } from './controls/import/release-flips.ts'
export {
  CONTROL_STATES,
  type ControlReason,
  type ControlResult,
  type ControlState,
  type JoinQuestion,
  joinControl,
} from './controls/join.ts'
export { type Json, type Judged, judge, type Verdict as ControlVerdict } from './controls/judge.ts'
export { factKey, newestFacts } from './controls/judge-runtime.ts'
export { isSamePerson, type Person, subjectOfToken } from './controls/person.ts'
export {
  type ControlFactsStore,
  type RecordedFacts,
  recordFacts,
  type VerifiedFacts,
} from './controls/record-facts.ts'
export { type Score, scoreOf } from './controls/score.ts'
export { SCORE_TIMES_MAX, type ScoreTimes, scoreTimes } from './controls/score-times.ts'
export {
  covers,
  standingOf,
  stepWaiver,
  WAIVER_ACTIONS,
  WAIVER_STATES,
  WAIVER_TYPES,
  type WaiverAction,
  type WaiverFacts,
  type WaiverScope,
  type WaiverState,
  type WaiverStep,
  type WaiverType,
} from './controls/waiver.ts'
export type { FleetOptions, FleetRefusal } from './fleet/fleet-refusal.ts'
export { HEALTHS, type Health, healthOf } from './fleet/health.ts'
export { type PackageDifferences, packageDifferences } from './fleet/package-differences.ts'
export type { PlannedFlake } from './fleet/plan-flakes.ts'
export { changesSomething, type FleetPlanning, type PlannedFleet, planFleet } from './fleet/plan-fleet.ts'
export type { PlannedSystem } from './fleet/plan-systems.ts'
export type {
  RegisteredBuilder,
  RegisteredEnvironment,
  RegisteredFlake,
  RegisteredFleet,
  RegisteredHook,
  RegisteredKey,
  RegisteredSystem,
} from './fleet/registered-fleet.ts'
export {
  type DriftFacts,
  VERDICTS,
  type Verdict,
  verdictOf,
  verdictSentence,
} from './fleet/verdict.ts'
export {
  type WaitingCode,
  type WaitingFacts,
  type WaitingReason,
  whyWaiting,
} from './fleet/why-waiting.ts'
export { newId } from './new-id.ts'
export { type CheckedBuild, checkBuild, type ExpectedBuild } from './pipeline/check-build.ts'
export { checkUpload, outsideReferences, type UploadFault } from './pipeline/check-upload.ts'
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
