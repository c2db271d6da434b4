import { fileURLToPath } from 'node:url'
import { type App, Stack } from 'aws-cdk-lib'
import { appOf } from '../../scripts/golden-templates.ts'

export const root: string = fileURLToPath(new URL('../..', import.meta.url))

export type Resource = {
  readonly Type: string
  readonly Properties: Readonly<Record<string, unknown>>
  readonly Metadata?: Readonly<Record<string, unknown>>
  readonly DeletionPolicy?: string
  readonly DependsOn?: string | readonly string[]
}
/** A template and its resources, or those of all stacks together. */
export type Synthesized = {
  readonly app: App
  /** Names are those of the template, behind that of the stack. */
  readonly resources: ReadonlyMap<string, Resource>
  readonly text: string
  ofType(type: string): [string, Resource][]
  /** @throws {Error} unless there is exactly one. */
  only(type: string): Resource
}

/**
 * Synthesizes as `npm run synth` does, except for CDK's own validation of the templates, which takes longer than
 * everything else together.
 */
export async function synthesize(context: Readonly<Record<string, string>> = {}): Promise<Synthesized> {
  const app = await appOf(root, context)
  const assembly = app.synth({ skipValidation: true })
  const templates = app.node.children
    .filter(Stack.isStack)
    .map((stack) => [stack.stackName, assembly.getStackArtifact(stack.artifactId).template] as const)
  const resources = new Map<string, Resource>(
    templates.flatMap(([name, template]) =>
      Object.entries<Resource>(template.Resources).map(
        ([id, one]) => [`${name}/${id}`, { ...one, Properties: one.Properties ?? {} }] as const,
      ),
    ),
  )
  const ofType = (type: string): [string, Resource][] =>
    [...resources].filter(([, resource]) => resource.Type === type)
  const only = (type: string): Resource => {
    const [first, second] = ofType(type)
    if (first === undefined || second !== undefined) throw new Error(`not exactly one ${type}`)
    return first[1]
  }
  return { app, resources, text: JSON.stringify(templates), ofType, only }
}

export type Statement = {
  readonly Sid?: string
  readonly Effect: string
  readonly Principal?: unknown
  readonly Action: string | string[]
  readonly Resource?: unknown
  readonly Condition?: Readonly<Record<string, Readonly<Record<string, unknown>>>>
}

/** Every statement of every policy in the templates, wherever a resource keeps its policy. */
export function statements({
  resources,
}: Synthesized): { id: string; resource: Resource; statement: Statement }[] {
  return [...resources].flatMap(([id, resource]) =>
    documentsOf(resource.Properties).flatMap((document) =>
      document.Statement.map((statement) => ({ id, resource, statement })),
    ),
  )
}

type Document = { readonly Statement: Statement[] }

function documentsOf(value: unknown): Document[] {
  if (typeof value !== 'object' || value === null) return []
  const written = writtenOut(value)
  if (written !== undefined) return documentsOf(written)
  if ('Statement' in value && Array.isArray(value.Statement)) return [value as Document]
  return Object.values(value).flatMap(documentsOf)
}

/** A policy that a resource takes as text, with names in the place of what only CloudFormation knows. */
function writtenOut(value: object): unknown {
  const parts: unknown =
    'Fn::Join' in value && Array.isArray(value['Fn::Join']) ? value['Fn::Join'][1] : undefined
  if (!Array.isArray(parts) || !String(parts[0]).startsWith('{"Statement"')) return undefined
  return JSON.parse(
    parts.map((part) => (typeof part === 'string' ? part : 'made-by-cloudformation:*')).join(''),
  )
}

export function listOf<T>(value: T | readonly T[] | undefined): readonly T[] {
  if (value === undefined) return []
  return Array.isArray(value) ? (value as readonly T[]) : [value as T]
}

/** For comparing what has no order. */
export function sorted(values: Iterable<unknown>): string[] {
  return [...values].map(String).sort((a, b) => a.localeCompare(b))
}
