import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { App, Stack } from 'aws-cdk-lib'
import { deployment, SWITCHES } from '../infra/deployment.ts'
import { readParameters } from '../infra/parameters.ts'

/** The templates of one set of parameters, as they are under review. */
export type GoldenFile = { readonly path: string; readonly text: string }

/** An app without bundles: what is in a function's code does not change a template but for a digest. */
export async function appOf(root: string, context: Readonly<Record<string, string>> = {}): Promise<App> {
  const file = JSON.parse(await readFile(path.join(root, 'cdk.json'), 'utf8'))
  const nothing = path.join(tmpdir(), 'crystal-forge-no-bundle')
  await mkdir(nothing, { recursive: true })
  await writeFile(path.join(nothing, 'index.mjs'), '')
  const app = new App({
    context: { ...file.context, ...context },
    postCliContext: { ...file.context, ...context, ...SWITCHES },
  })
  deployment(
    app,
    readParameters((name) => app.node.tryGetContext(name)),
    { bundle: () => nothing, now: new Date() },
  )
  return app
}

/** The default deployment: what a change of `infra/` changes in an account, for reviewers. */
export async function goldenFiles(root: string): Promise<GoldenFile[]> {
  const app = await appOf(root)
  const assembly = app.synth({ skipValidation: true })
  return app.node.children.filter(Stack.isStack).map((stack) => {
    const template: unknown = assembly.getStackArtifact(stack.artifactId).template
    const file = path.join(root, 'test/infra/golden', `${stack.stackName}.json`)
    return { path: file, text: `${JSON.stringify(template, withoutDigests, 2)}\n` }
  })
}

export async function writeGolden(root: string): Promise<string[]> {
  const files = await goldenFiles(root)
  await mkdir(path.join(root, 'test/infra/golden'), { recursive: true })
  for (const { path: file, text } of files) await writeFile(file, text)
  return files.map(({ path: file }) => file)
}

/** Digests of code, which change with every line of a function. */
function withoutDigests(_key: string, value: unknown): unknown {
  return typeof value === 'string' ? value.replace(/[0-9a-f]{64}/g, 'DIGEST') : value
}
