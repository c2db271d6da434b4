import { join } from 'node:path'
import process from 'node:process'
import { App, Validations } from 'aws-cdk-lib'
import { checks } from './checks.ts'
import { deployment, SWITCHES } from './deployment.ts'
import { ParameterError, readParameters, refuseUnknown } from './parameters.ts'

// `npm run synth`, and what the CDK command line runs: writes the templates, and stops at the first wrong context value.
try {
  const app = new App({ postCliContext: SWITCHES })
  refuseUnknown(Object.keys(app.node.getAllContext()))
  Validations.of(app).addPlugins(...checks(app))
  const bundles = process.env['CF_BUNDLES'] ?? join(import.meta.dirname, '../dist')
  deployment(
    app,
    readParameters((name) => app.node.tryGetContext(name)),
    { bundle: (name) => join(bundles, 'functions', name), now: new Date() },
  )
  app.synth()
} catch (error) {
  if (!(error instanceof ParameterError)) throw error
  process.stderr.write(`synth: ${error.message}\n`)
  process.exitCode = 1
}
