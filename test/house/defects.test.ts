import { existsSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))

/**
 * What version 0.2 got wrong in the chain from a push to a verdict, by the numbers of our list of its defects, and the test
 * that would notice if it came back: its file and words of its name.
 */
const NOTICED: readonly (readonly [number, string, string, string])[] = [
  [1, 'anybody could push', 'test/pipeline/webhooks.test.ts', 'unknown hook, wrong secret, no signature'],
  [2, 'a commit became Nix code', 'test/scenarios/hostile/webhook-cases.ts', 'a commit that is Nix'],
  [3, 'a commit of any branch counted', 'test/scenarios/regressions.test.ts', 'defects 1, 3 and 27'],
  [
    4,
    'a signature was good for ever',
    'functions/original-wire/app.test.ts',
    'a signature is accepted once, on whichever route',
  ],
  [5, 'a host wrote for another', 'test/scenarios/hostile/signed-request-cases.ts', 'identity_mismatch'],
  [6, 'no evidence was kept', 'test/postgres/least-privilege.test.ts', 'is only added to, also by its owner'],
  [
    7,
    'inactive hosts were heard',
    'packages/postgres/src/agent-reports.test.ts',
    'a revoked key and an inactive system record nothing',
  ],
  [
    15,
    'a default password',
    'server/src/embedded-postgres-access.test.ts',
    'a new cluster lets nobody in without the password',
  ],
  [
    16,
    'secrets on command lines',
    'builder-agent/test/push-elsewhere.test.ts',
    'Attic gets the token by a file that only we read',
  ],
  [
    17,
    'keys that everybody could read',
    'cli/src/commands/keygen.test.ts',
    'the private half for its owner only',
  ],
  [18, 'passwords broke the URL', 'packages/postgres/src/database-url.test.ts', 'password'],
  [
    19,
    'counts for everybody',
    'test/operator/operator-api.test.ts',
    'counts for whoever presents a token only',
  ],
  [19, 'bound to every address', 'server/src/config.test.ts', 'nothing at all is a configuration: loopback'],
  [22, 'an unchanged commit never ended', 'test/scenarios/regressions.test.ts', 'defect 22'],
  [25, 'deltas were starts', 'functions/original-wire/app.test.ts', 'one that differs is a state_delta'],
  [26, 'evaluation errors vanished', 'test/scenarios/regressions.test.ts', 'defect 26'],
  [27, 'commits had the time of arrival', 'test/pipeline/branch.test.ts', 'commits keep their own time'],
  [
    28,
    'its own README did not match',
    'packages/protocol/src/repository-url.test.ts',
    'git+ssh://git@git.example.com/infra/fleet',
  ],
  [
    29,
    'hosts became branches',
    'packages/protocol/src/repository-url.test.ts',
    'github:infra/fleet/feature/x',
  ],
  [
    30,
    'a force-push stopped it',
    'test/pipeline/branch.test.ts',
    'a force-push takes what it dropped off the branch',
  ],
  [30, 'fifty commits stopped it', 'test/pipeline/branch.test.ts', 'of a push of 60 commits the newest 50'],
  [31, 'auto_poll was forgotten', 'test/pipeline/relay-and-sweep.test.ts', 'only those that want to be'],
  [32, 'a restart undid an operator', 'test/scenarios/regressions.test.ts', 'defects 32, 33 and 34'],
  [
    32,
    'flakes without hosts',
    'test/scenarios/regressions.test.ts',
    'defect 32: a flake that no host follows',
  ],
  [
    32,
    'removed hosts stayed',
    'packages/control-plane/src/fleet/plan-fleet.test.ts',
    'with prune, what is active afterwards',
  ],
  [34, 'retries by restarting', 'packages/control-plane/src/pipeline/pipeline.test.ts', 'the retry rule'],
  [
    37,
    'the fifth failure hung',
    'test/pipeline/results.test.ts',
    'stops answering five times leaves a verdict',
  ],
  [
    38,
    'nothing scanned was clean',
    'test/pipeline/results.test.ts',
    'a machine without a scanner leaves the path without a verdict',
  ],
  [
    39,
    'scanned once, for ever',
    'test/pipeline/relay-and-sweep.test.ts',
    'what hosts should run is scanned again after a day',
  ],
  [
    42,
    'mebibytes were gigabytes',
    'functions/original-wire/app.test.ts',
    'mebibytes are bytes, secure boot is unknown',
  ],
  [42, 'interfaces made endless states', 'host-agent/src/observe.test.ts', 'leaves out temporary addresses'],
  [43, 'durations that nobody could read', 'cli/src/duration.test.ts', 'duration'],
  [46, 'a host was its configuration', 'test/scenarios/regressions.test.ts', 'defect 46'],
  [
    47,
    'several outputs in one path',
    'packages/nix-cli/src/build.test.ts',
    'gives every output of a derivation by its name',
  ],
  [
    53,
    'agents died of a lost report',
    'host-agent/test/report-loop.test.ts',
    'delivers what an earlier run has left',
  ],
  [
    54,
    'builders needed one store',
    'builder-agent/test/nix.test.ts',
    'recipes travel to a builder that never evaluated',
  ],
  [
    55,
    'two evaluated the same',
    'test/pipeline/job-machine.test.ts',
    'of many builders that claim one job at once, one gets it',
  ],
  [56, 'reservations never ended', 'test/scenarios/regressions.test.ts', 'defect 56'],
  [
    57,
    'a timeout left the build',
    'packages/nix-cli/src/run-command.test.ts',
    'ends the whole group on timeout',
  ],
  [
    58,
    'one limit for all builds',
    'packages/nix-cli/src/systemd-scope.test.ts',
    'knows that the kernel killed for memory',
  ],
  [
    59,
    'closures were pushed twice',
    'builder-agent/test/nix.test.ts',
    'two hosts built at a time push what they share once',
  ],
  [60, 'scans of what is gone', 'packages/nix-cli/src/vulnix.test.ts', 'of a path that is not there says so'],
  [
    61,
    'stuck after a restart',
    'test/scenarios/killed-on-the-way.test.ts',
    'the server, while a commit is evaluated',
  ],
  [62, 'no guard of the disk', 'builder-agent/src/disk-guard.test.ts', 'too little space is said once'],
  [63, 'the cache was not asked', 'test/pipeline/cache.test.ts', 'a closure with a hole'],
  [64, 'it panicked without flakes', 'server/src/config.test.ts', 'nothing at all is a configuration'],
  [
    65,
    'jobs by night failed silently',
    'test/pipeline/watch.test.ts',
    'a sweep that fails has measured before',
  ],
  [66, 'silence after 202', 'test/pipeline/webhooks.test.ts', 'acknowledged with a reason, and ignored'],
  [70, 'a row for every heartbeat', 'packages/postgres/src/agent-reports.test.ts', 'keeps one row a day'],
]

test.each(NOTICED)('defect %i, %s: %s says so when it comes back', (_number, _what, file, words) => {
  const at = path.join(root, file)
  expect(existsSync(at), file).toBe(true)
  expect(readFileSync(at, 'utf8').includes(words), `${file} has no test named ${JSON.stringify(words)}`).toBe(
    true,
  )
})
