import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import * as z from 'zod'

/** A query of a panel or of a variable, and what its panel says of the columns. */
export type DashboardQuery = {
  readonly dashboard: string
  readonly where: string
  readonly sql: string
  readonly format: 'table' | 'time_series'
  /** Columns that the panel names. */
  readonly columns: readonly string[]
}

const datasource = z.strictObject({
  type: z.literal('grafana-postgresql-datasource'),
  uid: z.literal(['$', '{datasource}'].join('')),
})
const target = z.strictObject({
  refId: z.string().regex(/^[A-Z]$/),
  datasource,
  editorMode: z.literal('code'),
  format: z.enum(['table', 'time_series']),
  rawQuery: z.literal(true),
  rawSql: z.string().min(1),
})
const gridPos = z.strictObject({
  h: z.int().min(1).max(40),
  w: z.int().min(1).max(24),
  x: z.int().min(0).max(23),
  y: z.int().min(0),
})
const override = z.strictObject({
  matcher: z.strictObject({ id: z.literal('byName'), options: z.string() }),
  properties: z.array(z.strictObject({ id: z.string(), value: z.unknown() })).min(1),
})
const place = { id: z.int().min(1), title: z.string().min(1), gridPos }
const panel = z.discriminatedUnion('type', [
  z.strictObject({
    ...place,
    type: z.literal('row'),
    collapsed: z.literal(false),
    panels: z.array(z.never()),
  }),
  z.strictObject({ ...place, type: z.literal('text'), options: z.record(z.string(), z.unknown()) }),
  z.strictObject({
    ...place,
    type: z.enum(['stat', 'piechart', 'table', 'timeseries', 'state-timeline']),
    description: z.string().regex(/\.$/),
    datasource,
    targets: z.array(target).length(1),
    fieldConfig: z.strictObject({
      defaults: z.record(z.string(), z.unknown()),
      overrides: z.array(override),
    }),
    options: z.record(z.string(), z.unknown()),
    transformations: z
      .array(
        z.object({
          id: z.literal('partitionByValues'),
          options: z.object({ fields: z.array(z.string()) }),
        }),
      )
      .optional(),
  }),
])
const variable = z.discriminatedUnion('type', [
  z.looseObject({
    type: z.literal('datasource'),
    name: z.literal('datasource'),
    query: z.literal('grafana-postgresql-datasource'),
    current: z.object({ value: z.literal('crystal-forge-postgres') }),
  }),
  z.looseObject({ type: z.literal('query'), name: z.string(), query: z.string(), datasource }),
])

const dashboard = z.looseObject({
  uid: z.string().regex(/^[a-z0-9-]{1,40}$/),
  title: z.string().startsWith('Crystal Forge '),
  schemaVersion: z.int().min(36),
  editable: z.literal(true),
  tags: z.tuple([z.literal('crystal-forge')]),
  time: z.strictObject({ from: z.string().startsWith('now-'), to: z.literal('now') }),
  templating: z.object({ list: z.array(variable).min(1) }),
  panels: z.array(panel).min(1),
})
export type Dashboard = z.infer<typeof dashboard>

export const FOLDER: string = join(import.meta.dirname, '../../dashboards')

/** Every dashboard of the folder by its file name. Throws, with the path of the fault, when one has another shape. */
export function readDashboards(): ReadonlyMap<string, Dashboard> {
  return new Map(
    readdirSync(FOLDER).map((file) => {
      const read = dashboard.safeParse(JSON.parse(readFileSync(join(FOLDER, file), 'utf8')))
      if (!read.success) throw new Error(`${file}: ${z.prettifyError(read.error)}`)
      return [file, read.data] as const
    }),
  )
}

/** Every query of a dashboard: those of its variables first, as Grafana asks them. */
export function queriesOf(file: string, { templating, panels }: Dashboard): DashboardQuery[] {
  const variables = templating.list.flatMap((one): DashboardQuery[] =>
    one.type === 'query'
      ? [{ dashboard: file, where: `variable ${one.name}`, sql: one.query, format: 'table', columns: [] }]
      : [],
  )
  const asked = panels.flatMap((one): DashboardQuery[] => {
    if (one.type === 'row' || one.type === 'text') return []
    const [query] = one.targets
    if (query === undefined) return []
    const partitions = one.transformations?.flatMap(({ options }) => options.fields) ?? []
    const columns = [...one.fieldConfig.overrides.map(({ matcher }) => matcher.options), ...partitions]
    // A pie gives its slices the names that the rows have, so an override names a row.
    const named = one.type === 'piechart' ? [] : columns
    return [{ dashboard: file, where: one.title, sql: query.rawSql, format: query.format, columns: named }]
  })
  return [...variables, ...asked]
}

/** What Grafana sends to Postgres: variables first, then the macros of its Postgres datasource. */
export function expand(
  sql: string,
  variables: Readonly<Record<string, readonly string[]>>,
  range: { readonly from: Date; readonly to: Date },
): string {
  const filled = sql.replace(/\$\{(\w+):sqlstring\}/g, (_, name: string) => {
    const values = variables[name]
    if (values === undefined) throw new Error(`there is no variable ${name}`)
    return values.map((value) => `'${value.replaceAll("'", "''")}'`).join(',')
  })
  const expanded = filled.replace(/\$(__\w+)\(([^)]*)\)/g, (_, macro: string, list: string) =>
    macroOf(
      macro,
      list.split(',').map((one) => one.trim()),
      range,
    ),
  )
  if (/\$[_{a-z]/.test(expanded)) throw new Error(`not expanded: ${expanded}`)
  return expanded
}

function macroOf(
  name: string,
  [first = '', interval = '']: readonly string[],
  { from, to }: { readonly from: Date; readonly to: Date },
): string {
  switch (name) {
    case '__timeFilter':
      return `${first} BETWEEN '${from.toISOString()}' AND '${to.toISOString()}'`
    case '__timeGroupAlias': {
      const seconds = { "'1h'": 3600, "'1d'": 86_400 }[interval]
      if (seconds === undefined) throw new Error(`interval ${interval}`)
      return `floor(extract(epoch from ${first})/${seconds})*${seconds} AS "time"`
    }
    default:
      throw new Error(`Grafana knows no macro ${name}`)
  }
}
