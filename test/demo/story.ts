import { join } from 'node:path'
import { type Demo, INSTALLED_BY_HAND, push, REPORTING_HOSTS } from './demo.ts'
import type { Reporter } from './stages.ts'
import { substitute } from './substitute.ts'
import { type DriftItem, driftByHost, pipelineSummary, shortError } from './verdicts.ts'
import { waitFor } from './wait-for.ts'

/** Why the demo is there: from a push to verdicts, in the order in which an operator sees them. Throws when one is wrong. */
export async function tellStory(demo: Demo, reporter: Reporter): Promise<void> {
  await firstReports(demo, reporter)
  await firstPush(demo, reporter)
  await deploy(demo, reporter)
  await secondPush(demo, reporter)
  await strangePath(demo, reporter)
  await fromTheCache(demo, reporter)
}

async function firstReports(demo: Demo, { say }: Reporter): Promise<void> {
  await waitForHosts(
    demo,
    'first reports',
    (host) => host('web-1').verdict !== 'never_seen' && host('web-2').verdict !== 'never_seen',
  )
  say(`first reports      ${REPORTING_HOSTS.join(' and ')} run a system that was installed by hand`)
}

async function firstPush(demo: Demo, reporter: Reporter): Promise<void> {
  const { rev } = demo.repository
  await push(demo, rev)
  reporter.say(`push 1             ${rev.slice(0, 12)}: GitHub-signed delivery accepted`)
  await reporter.reached('push delivered')
  await watchPipeline(demo, reporter, async () => {
    const hosts = await driftByHost(demo.controlPlane)
    const cached = ['web-1', 'web-2', 'db-1', 'legacy-1'].every(
      (name) => hosts.get(name)?.build_state === 'cached',
    )
    return (
      cached &&
      hosts.get('broken-build')?.build_state === 'failed' &&
      hosts.get('broken-eval')?.evaluation_error != null
    )
  })
  await reporter.reached('built')
}

async function deploy(demo: Demo, reporter: Reporter): Promise<void> {
  const before = await driftByHost(demo.controlPlane)
  for (const name of REPORTING_HOSTS) {
    const desired = before.get(name)?.desired_path
    if (desired == null) throw new Error(`${name} has no desired path after its build`)
    await demo.trees.get(name)?.switchTo(desired)
  }
  const hosts = await waitForHosts(demo, 'two hosts up to date', (host) =>
    REPORTING_HOSTS.every((name) => host(name).verdict === 'up_to_date'),
  )
  reporter.say('deployed           the hosts switched to what was built, and reported it\n')
  reporter.say(await demo.cf('drift'))
  reporter.say('what does not work says why:')
  reporter.say(`  broken-eval      ${shortError(hosts.get('broken-eval')?.evaluation_error ?? null)}`)
  reporter.say(`  broken-build     ${shortError(hosts.get('broken-build')?.build_error ?? null)}\n`)
  await reporter.reached('hosts up to date')
}

async function secondPush(demo: Demo, reporter: Reporter): Promise<void> {
  const rev = demo.repository.commit({
    file: 'hosts/web-1.nix',
    replace: '1.26.1',
    by: '1.26.2',
    subject: 'web-1: nginx 1.26.2',
  })
  await push(demo, rev)
  reporter.say(`push 2             ${rev.slice(0, 12)}: web-1 gets nginx 1.26.2`)
  await reporter.reached('second push')
  await watchPipeline(demo, reporter, async () => {
    const hosts = await driftByHost(demo.controlPlane)
    const [one, two] = [hosts.get('web-1'), hosts.get('web-2')]
    if (one?.head_rev !== rev || one.head_state !== 'evaluated' || two === undefined) return false
    return one.verdict === 'behind' && one.commits_behind === 1 && two.verdict === 'up_to_date'
  })
  const behind = [...(await driftByHost(demo.controlPlane)).values()].filter(
    ({ commits_behind: count }) => (count ?? 0) > 0,
  )
  if (behind.length !== 1)
    throw new Error(`one host should be behind: ${behind.map(({ hostname }) => hostname).join(', ')}`)
  const shown = await demo.cf('drift', 'web-1')
  if (!/nginx.*1\.26\.1.*1\.26\.2/s.test(shown))
    throw new Error(`the package difference is missing:\n${shown}`)
  reporter.say(`\n${shown}`)
  await reporter.reached('one behind')
}

async function strangePath(demo: Demo, reporter: Reporter): Promise<void> {
  await demo.trees.get('web-2')?.switchTo(INSTALLED_BY_HAND)
  await waitForHosts(demo, 'an unattributed host', (host) => host('web-2').verdict === 'unattributed')
  reporter.say('web-2 was changed by hand to a path that no commit yields:\n')
  reporter.say(await demo.cf('drift'))
  await reporter.reached('unattributed')
}

async function fromTheCache(demo: Demo, reporter: Reporter): Promise<void> {
  const { cacheUrl, cachePublicKey } = demo.controlPlane.facts
  const path = (await driftByHost(demo.controlPlane)).get('web-1')?.desired_path
  if (path == null) throw new Error('web-1 has no desired path')
  const wanted = { cacheUrl, path, publicKey: cachePublicKey }
  const stranger = `${cachePublicKey.split(':')[0]}:${Buffer.alloc(32, 7).toString('base64')}`
  const refused = await substitute({
    ...wanted,
    publicKey: stranger,
    directory: join(demo.directory, 'refused'),
  }).then(
    () => false,
    () => true,
  )
  if (!refused) throw new Error('Nix took a closure that no trusted key signed')
  const copied = await substitute({ ...wanted, directory: join(demo.directory, 'substituted') })
  reporter.say(
    `substituted        ${copied.paths} paths of web-1 by plain Nix with require-sigs; another key was refused`,
  )
  reporter.say(`                   ${copied.command}\n`)
  await reporter.reached('substituted')
}

async function waitForHosts(
  demo: Demo,
  what: string,
  settled: (host: (name: string) => DriftItem) => boolean,
): Promise<ReadonlyMap<string, DriftItem>> {
  return waitFor(what, async () => {
    const hosts = await driftByHost(demo.controlPlane)
    const host = (name: string): DriftItem => {
      const found = hosts.get(name)
      if (found === undefined) throw new Error(`${name} is not in GET /v1/drift`)
      return found
    }
    return settled(host) ? hosts : undefined
  })
}

/** Says what moves until `settled`; tells the reporter when evaluations and builds are under way. */
async function watchPipeline(demo: Demo, reporter: Reporter, settled: () => Promise<boolean>): Promise<void> {
  let said = ''
  const reached = new Set<string>()
  await waitFor('the pipeline', async () => {
    const summary = await pipelineSummary(demo.controlPlane)
    if (summary !== said) reporter.say(`  ${summary}`)
    said = summary
    for (const [stage, word] of [
      ['evaluating', 'evaluate'],
      ['building', 'build'],
    ] as const) {
      if (reached.has(stage) || !summary.includes(word)) continue
      reached.add(stage)
      await reporter.reached(stage)
    }
    return (await settled()) ? true : undefined
  })
}
