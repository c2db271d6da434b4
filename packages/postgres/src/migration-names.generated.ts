/** The numbered files of migrations/ that this version was made with. Written by `npm run schema`. */
export const MIGRATION_NAMES: readonly string[] = [
  '0001_foundation.sql',
  '0002_pipeline.sql',
  '0003_fleet.sql',
  '0004_evidence.sql',
  '0005_controls.sql',
  '0006_control_facts.sql',
  '0007_controls_role.sql',
  '0008_current_by_path.sql',
  '0009_persons.sql',
  '0010_waiver_notices.sql',
  '0011_one_owner_per_key.sql',
  '0012_dashboards.sql',
  '0013_rare_rows.sql',
  '0014_enroll_token_revocation.sql',
]
