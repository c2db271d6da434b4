type Schema = boolean | Readonly<Record<string, unknown>>

/**
 * Faults of a value against a JSON Schema: the keywords that the vendored schemas use, and no others. A keyword that is not
 * known is an error, so that a schema is never half checked in silence.
 */
export function schemaFaults(root: Schema, value: unknown): string[] {
  const ids = new Map<string, Schema>()
  collectIds(root, ids)
  return check({ root, ids }, root, value, '')
}

type Context = { readonly root: Schema; readonly ids: ReadonlyMap<string, Schema> }

function check(context: Context, schema: Schema, value: unknown, at: string): string[] {
  if (schema === true) return []
  if (schema === false) return [`${at}: nothing is allowed here`]
  const faults: string[] = []
  for (const [keyword, wanted] of Object.entries(schema)) {
    if (ANNOTATIONS.has(keyword)) continue
    const rule = RULES[keyword]
    if (rule === undefined) throw new Error(`${at}: the keyword ${keyword} is not known`)
    faults.push(...rule(context, wanted, value, { at, schema }))
  }
  return faults
}

type Place = { readonly at: string; readonly schema: Readonly<Record<string, unknown>> }
type Rule = (context: Context, wanted: unknown, value: unknown, place: Place) => string[]

const RULES: Readonly<Record<string, Rule>> = {
  $ref: (context, wanted, value, { at }) => check(context, resolve(context, String(wanted)), value, at),
  type: (_, wanted, value, { at }) =>
    [wanted].flat().some((type) => isOf(String(type), value)) ? [] : [`${at}: is no ${String(wanted)}`],
  enum: (_, wanted, value, { at }) =>
    list(wanted).some((one) => JSON.stringify(one) === JSON.stringify(value))
      ? []
      : [`${at}: ${JSON.stringify(value)} is none of ${JSON.stringify(wanted)}`],
  const: (_, wanted, value, { at }) =>
    JSON.stringify(wanted) === JSON.stringify(value) ? [] : [`${at}: is not ${JSON.stringify(wanted)}`],
  required: (_, wanted, value, { at }) =>
    isObject(value)
      ? list(wanted).flatMap((name) => (Object.hasOwn(value, String(name)) ? [] : [`${at}: has no ${name}`]))
      : [],
  properties: (context, wanted, value, { at }) =>
    isObject(value) && isObject(wanted)
      ? Object.entries(wanted).flatMap(([name, part]) =>
          Object.hasOwn(value, name) ? check(context, asSchema(part), value[name], `${at}/${name}`) : [],
        )
      : [],
  additionalProperties: (context, wanted, value, { at, schema }) => {
    if (!isObject(value)) return []
    const known = isObject(schema['properties']) ? schema['properties'] : {}
    return Object.entries(value)
      .filter(([name]) => !Object.hasOwn(known, name))
      .flatMap(([name, part]) => check(context, asSchema(wanted), part, `${at}/${name}`))
  },
  items: (context, wanted, value, { at }) =>
    Array.isArray(value)
      ? value.flatMap((part, index) => check(context, asSchema(wanted), part, `${at}/${index}`))
      : [],
  minItems: (_, wanted, value, { at }) =>
    Array.isArray(value) && value.length < Number(wanted) ? [`${at}: fewer than ${wanted}`] : [],
  minimum: (_, wanted, value, { at }) =>
    typeof value === 'number' && value < Number(wanted) ? [`${at}: less than ${wanted}`] : [],
  maximum: (_, wanted, value, { at }) =>
    typeof value === 'number' && value > Number(wanted) ? [`${at}: more than ${wanted}`] : [],
  pattern: (_, wanted, value, { at }) =>
    typeof value === 'string' && !new RegExp(String(wanted), 'u').test(value)
      ? [`${at}: ${JSON.stringify(value.slice(0, 80))} does not match ${wanted}`]
      : [],
  format: (_, wanted, value, { at }) =>
    wanted === 'date-time' && typeof value === 'string' && Number.isNaN(Date.parse(value))
      ? [`${at}: is no date`]
      : [],
  allOf: (context, wanted, value, { at }) =>
    list(wanted).flatMap((part) => check(context, asSchema(part), value, at)),
  anyOf: (context, wanted, value, { at }) => {
    const tried = list(wanted).map((part) => check(context, asSchema(part), value, at))
    return tried.some((faults) => faults.length === 0) ? [] : (tried[0] ?? [])
  },
  oneOf: (context, wanted, value, { at }) => {
    const fits = list(wanted).filter((part) => check(context, asSchema(part), value, at).length === 0)
    return fits.length === 1 ? [] : [`${at}: fits ${fits.length} alternatives`]
  },
}

const ANNOTATIONS = new Set([
  '$schema',
  '$id',
  '$comment',
  'title',
  'description',
  'definitions',
  'default',
  'examples',
])

function resolve({ root, ids }: Context, ref: string): Schema {
  const byId = ids.get(ref)
  if (byId !== undefined) return byId
  if (!ref.startsWith('#/')) throw new Error(`${ref} leads nowhere`)
  let at: unknown = root
  for (const part of ref.slice(2).split('/')) {
    const name = decodeURIComponent(part).replaceAll('~1', '/').replaceAll('~0', '~')
    at = isObject(at) ? at[name] : undefined
  }
  return asSchema(at)
}

function collectIds(schema: unknown, ids: Map<string, Schema>): void {
  if (Array.isArray(schema)) for (const part of schema) collectIds(part, ids)
  if (!isObject(schema)) return
  if (typeof schema['$id'] === 'string') ids.set(schema['$id'], schema)
  for (const part of Object.values(schema)) collectIds(part, ids)
}

function isOf(type: string, value: unknown): boolean {
  if (type === 'array') return Array.isArray(value)
  if (type === 'object') return isObject(value)
  if (type === 'integer') return Number.isInteger(value)
  if (type === 'null') return value === null
  return typeof value === type
}

function asSchema(value: unknown): Schema {
  if (typeof value === 'boolean') return value
  if (isObject(value)) return value
  throw new Error(`${JSON.stringify(value)} is no schema`)
}

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : []
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return Object.prototype.toString.call(value) === '[object Object]'
}
