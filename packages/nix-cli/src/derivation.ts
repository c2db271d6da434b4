import { isDrvPath, type StorePath } from '@crystal-forge/protocol'
import * as z from 'zod'
import { answerOf, infra, type NixCall, type NixFailure, nixSubcommand } from './nix-call.ts'
import { absolute } from './path-info.ts'
import { compareText } from './text-order.ts'

export type Derivation = {
  readonly path: StorePath
  /** `openssl-3.0.13`. */
  readonly name: string
  readonly system: string
  readonly builder: string
  /** By output name; null when the path is known only after the build. */
  readonly outputs: ReadonlyMap<string, StorePath | null>
  readonly inputDerivations: readonly StorePath[]
  readonly inputSources: readonly StorePath[]
  readonly env: Readonly<Record<string, string>>
}

/** Reads derivations out of the store; with `recursive` also everything they are built from. */
export async function showDerivations(
  call: NixCall,
  drvPath: StorePath,
  options: { readonly recursive: boolean },
): Promise<
  { readonly kind: 'derivations'; readonly derivations: ReadonlyMap<StorePath, Derivation> } | NixFailure
> {
  const flags = options.recursive ? ['--recursive'] : []
  let answer = await answerOf(nixSubcommand(call, ['derivation', 'show'], [...flags, '--', drvPath]))
  // Nix 2.8 has only the old name; newer ones warn about it.
  if (answer.kind === 'failed' && /not a recognised command/.test(answer.message)) {
    answer = await answerOf(nixSubcommand(call, ['show-derivation'], [...flags, '--', drvPath]))
  }
  if (answer.kind === 'failed') return answer
  try {
    return { kind: 'derivations', derivations: parseDerivations(answer.stdout) }
  } catch (error) {
    return infra(error instanceof Error ? error.message : String(error))
  }
}

/**
 * Reads `nix derivation show` of Nix 2.8, 2.26 and 2.34 (wrapped, base names).
 * @throws RangeError when the text is none of these.
 */
export function parseDerivations(json: string): ReadonlyMap<StorePath, Derivation> {
  const derivations = new Map<StorePath, Derivation>()
  for (const [name, entry] of Object.entries(parse(json))) {
    const path = absolute(name)
    if (!isDrvPath(path)) throw new RangeError(`Nix described ${path} as a derivation`)
    derivations.set(path, derivationOf(path, entry))
  }
  return derivations
}

function derivationOf(path: StorePath, entry: z.infer<typeof derivationShape>): Derivation {
  const inputs = 'inputs' in entry ? entry.inputs : { drvs: entry.inputDrvs, srcs: entry.inputSrcs }
  return {
    path,
    name: entry.name ?? entry.env['name'] ?? path.slice(path.indexOf('-') + 1, -'.drv'.length),
    system: entry.system,
    builder: entry.builder,
    outputs: new Map(
      Object.entries(entry.outputs).map(([name, output]) => [
        name,
        output.path == null ? null : absolute(output.path),
      ]),
    ),
    inputDerivations: Object.keys(inputs.drvs).map(absolute).toSorted(compareText),
    inputSources: inputs.srcs.map(absolute).toSorted(compareText),
    env: entry.env,
  }
}

function parse(json: string): Readonly<Record<string, z.infer<typeof derivationShape>>> {
  try {
    const answer = answerShape.parse(JSON.parse(json))
    return 'derivations' in answer && typeof answer['version'] === 'number'
      ? wrapped.parse(answer).derivations
      : plain.parse(answer)
  } catch (cause) {
    throw new RangeError('nix derivation show answered in a shape that no known version has', { cause })
  }
}

const common = {
  name: z.string().optional(),
  system: z.string(),
  builder: z.string(),
  env: z.record(z.string(), z.string()),
  outputs: z.record(z.string(), z.object({ path: z.string().nullish() })),
}
const drvs = z.record(z.string(), z.unknown())
const derivationShape = z.union([
  z.object({ ...common, inputs: z.object({ drvs, srcs: z.array(z.string()) }) }),
  z.object({ ...common, inputDrvs: drvs, inputSrcs: z.array(z.string()) }),
])
const answerShape = z.record(z.string(), z.unknown())
const wrapped = z.object({ derivations: z.record(z.string(), derivationShape) })
const plain = z.record(z.string(), derivationShape)
