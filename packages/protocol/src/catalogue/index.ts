export {
  type ClaimedWaiver,
  type ReportedRule,
  RULE_STATES,
  type RuleState,
  type StigReport,
  stigReport,
} from './report.ts'
export {
  type CatalogueRule,
  catalogueRule,
  type Expectation,
  type ExpectedOption,
  NORMALISERS,
  type Normaliser,
  OPERATORS,
  type Operator,
  type RuleWords,
  type RuntimeCheck,
} from './rule.ts'
export {
  type CatalogueAliases,
  type CatalogueBenchmark,
  type CciTable,
  type CollectorTable,
  catalogueAliases,
  catalogueBenchmark,
  cciTable,
  collectorTable,
  type OperatorVectors,
  operatorVectors,
  type SrgTable,
  srgTable,
} from './tables.ts'
