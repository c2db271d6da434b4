import { nix32OfHash } from '@crystal-forge/protocol'
import { evaluatedOk, fakePath, sri } from '../../pipeline/world.ts'
import { attestedBuild } from '../attested-build.ts'
import { type Held, workOf } from '../builder-calls.ts'
import type { Answer } from '../raw-http.ts'
import { type Identity, signed } from '../signed-call.ts'
import { cases, type HostileCase } from './hostile-case.ts'
import type { HostileWorld, Upload } from './hostile-world.ts'

/** Builders that speak about what is not theirs, or not true. */
export function builderCases(): readonly HostileCase[] {
  return [
    ...cases('job', [
      [
        'a result with an old fence',
        (w) => onJob(w, w.crashedBuild, 'result', succeeded(w)),
        409,
        'stale_fence',
        'claim another one',
      ],
      ['a failure with an old fence', (w) => onJob(w, w.crashedBuild, 'result', FAILED), 409, 'stale_fence'],
      [
        'a fence that was never given out',
        (w) => onJob(w, { ...w.heldBuild, fence: w.heldBuild.fence + 1000 }, 'result', FAILED),
        409,
        'stale_fence',
      ],
      [
        'a fence of zero',
        (w) => onJob(w, { ...w.heldBuild, fence: 0 }, 'result', FAILED),
        400,
        'invalid_body',
        'fence',
      ],
      [
        "another builder's job",
        (w) => onJob(w, w.heldBuild, 'result', FAILED, w.otherBuilder),
        409,
        'stale_fence',
      ],
      [
        'a job that nobody made',
        (w) => onJob(w, { ...w.heldBuild, job: 'job_none' }, 'result', FAILED),
        404,
        'unknown_job',
        'job_none',
      ],
      [
        'a result of another kind',
        (w) =>
          onJob(w, w.heldBuild, 'result', {
            result: { outcome: 'succeeded', succeeded: { kind: 'evaluate', configurations: 0, failed: 0 } },
          }),
        422,
        'wrong_kind',
        'build',
      ],
      [
        "an attestation of another builder's key",
        (w) => onJob(w, w.heldBuild, 'result', succeeded(w, { seed: w.otherBuilder.seed })),
        422,
        'attestation_refused',
      ],
      [
        'an attestation about another job',
        (w) => onJob(w, w.heldBuild, 'result', succeeded(w, { job: 'job_other' })),
        422,
        'attestation_refused',
      ],
      [
        'a result without its attestation',
        (w) =>
          onJob(w, w.heldBuild, 'result', { result: { outcome: 'succeeded', succeeded: { kind: 'build' } } }),
        400,
        'invalid_body',
        'result',
      ],
      [
        'a failure of a class that nobody knows',
        (w) =>
          onJob(w, w.heldBuild, 'result', { result: { outcome: 'failed', class: 'bored', message: '' } }),
        400,
        'invalid_body',
        'result',
      ],
      [
        'an error text with NUL',
        (w) =>
          onJob(w, w.heldBuild, 'result', { result: { outcome: 'failed', class: 'build', message: 'a\0b' } }),
        400,
        'invalid_body',
        'result',
      ],
      [
        "a heartbeat for another builder's job",
        (w) => onJob(w, w.heldBuild, 'heartbeat', {}, w.otherBuilder),
        409,
        'stale_fence',
      ],
      ['a heartbeat with an old fence', (w) => onJob(w, w.crashedBuild, 'heartbeat', {}), 409, 'stale_fence'],
      [
        'a job id that is SQL',
        (w) => call(w, "/v1/builder/jobs/x'--/heartbeat", { fence: 1 }),
        400,
        'bad_target',
      ],
      [
        'an evaluation of a job of another builder',
        (w) => onJob(w, w.heldEvaluation, 'evaluations', evaluations('x'), w.otherBuilder),
        409,
        'stale_fence',
      ],
      [
        'an evaluation of a job that is finished',
        (w) => onJob(w, w.finishedEvaluation, 'evaluations', evaluations('x')),
        409,
        'stale_fence',
      ],
      [
        'an evaluation of a build',
        (w) => onJob(w, w.heldBuild, 'evaluations', evaluations('x')),
        422,
        'wrong_kind',
      ],
      [
        'facts with NUL',
        (w) => onJob(w, w.heldEvaluation, 'evaluations', evaluations('x', { facts: { a: '\0' } })),
        422,
        'bad_text',
        'NUL',
      ],
      [
        'a derivation that is no store path',
        (w) => onJob(w, w.heldEvaluation, 'evaluations', evaluations('x', { drv_path: '--option' })),
        400,
        'invalid_body',
        'drv_path',
      ],
      [
        '51 evaluations at once',
        (w) =>
          onJob(w, w.heldEvaluation, 'evaluations', {
            evaluator: '2.34.8',
            evaluations: Array(51).fill(evaluatedOk('x')),
          }),
        400,
        'invalid_body',
        'evaluations',
      ],
      [
        'a claim of a kind that nobody knows',
        (w) => call(w, '/v1/builder/claims', { kinds: ['shell'] }),
        400,
        'invalid_body',
        'kinds',
      ],
      [
        'a claim of nothing',
        (w) => call(w, '/v1/builder/claims', { kinds: [] }),
        400,
        'invalid_body',
        'kinds',
      ],
    ]),
    ...cases('cache', [
      [
        'a path that was never uploaded',
        (w) => commit(w, [upload('never')]),
        422,
        'nar_missing',
        'upload it',
      ],
      [
        'an upload of another size',
        (w) => commit(w, [{ ...onlyName(w), file_size: 17 }]),
        422,
        'nar_missing',
        '16 bytes instead of 17',
      ],
      [
        'a reference that was never committed',
        (w) => commit(w, [{ ...onlyName(w), references: [fakePath('ghost')] }]),
        422,
        'reference_missing',
        'ghost',
      ],
      [
        'another content for a path that is there',
        (w) => commit(w, [{ ...w.cache.cachedPath, nar_hash: sri('other') }]),
        409,
        'path_conflict',
        'not reproducible',
      ],
      ['a path twice', (w) => commit(w, [w.cache.cachedPath, w.cache.cachedPath]), 422, 'duplicate_path'],
      ['paths that refer to each other in a circle', (w) => commit(w, circle(w)), 422, 'reference_cycle'],
      [
        'a file with the name of another hash',
        (w) => commit(w, [{ ...onlyName(w), file_hash: sri('other') }]),
        422,
        'nar_name',
      ],
      ['an empty NAR', (w) => commit(w, [{ ...onlyName(w), nar_size: 0 }]), 422, 'nar_size'],
      [
        'a line break in the content address',
        (w) => commit(w, [{ ...onlyName(w), ca: 'text:\nSig: x' }]),
        400,
        'invalid_body',
        'ca',
      ],
      ['a content address that is none', (w) => commit(w, [{ ...onlyName(w), ca: 'magic' }]), 422, 'bad_ca'],
      [
        "a file outside of the tenant's folder",
        (w) => commit(w, [{ ...onlyName(w), url: 'nar/../../other/x.nar' }]),
        400,
        'invalid_body',
        'url',
      ],
      [
        "another builder's build",
        (w) => commit(w, [w.cache.cachedPath], { by: w.otherBuilder }),
        409,
        'stale_fence',
      ],
      ['an old fence', (w) => commit(w, [w.cache.cachedPath], { held: w.crashedBuild }), 409, 'stale_fence'],
      [
        'a job that is no build',
        (w) => commit(w, [w.cache.cachedPath], { held: w.heldEvaluation }),
        409,
        'stale_fence',
      ],
      [
        'a closure that is not there',
        (w) => commit(w, [], { toplevel: fakePath('nothing') }),
        409,
        'closure_incomplete',
      ],
      [
        'a question about paths without a build',
        (w) =>
          call(
            w,
            '/v1/builder/cache/missing',
            { job: w.heldBuild.job, fence: w.heldBuild.fence, paths: [fakePath('x')] },
            w.otherBuilder,
          ),
        409,
        'stale_fence',
      ],
    ]),
  ]
}

const FAILED = { result: { outcome: 'failed', class: 'build', message: 'no compiler' } }

function call(
  world: HostileWorld,
  target: string,
  body: object,
  by: Identity = world.builder,
): Promise<Answer> {
  return world.send(callRequest(world, target, body, by))
}

function callRequest({ authority }: HostileWorld, target: string, body: object, { seed }: Identity) {
  const honest = /^[A-Za-z0-9._~/-]+$/.test(target) ? target : '/v1/builder/claims'
  const request = signed({
    by: seed,
    authority,
    tag: 'crystal-forge-builder-v1',
    target: honest,
    body: { v: 1, ...body },
  })
  return { ...request, target }
}

function onJob(
  world: HostileWorld,
  { job, fence }: Pick<Held, 'job' | 'fence'>,
  what: string,
  body: object,
  by?: Identity,
): Promise<Answer> {
  return call(world, `/v1/builder/jobs/${job}/${what}`, { fence, ...body }, by)
}

function succeeded(world: HostileWorld, changes: { seed?: Identity['seed']; job?: string } = {}): object {
  const work = workOf(world.heldBuild)
  const honest = {
    job: world.heldBuild.job,
    seed: world.builder.seed,
    narHash: sri(work.out_path),
    narSize: 1000,
  }
  return { result: { outcome: 'succeeded', succeeded: attestedBuild(work, { ...honest, ...changes }) } }
}

function evaluations(configuration: string, changes: object = {}): object {
  return { evaluator: '2.34.8', evaluations: [{ ...evaluatedOk(configuration), ...changes }] }
}

function commit(
  world: HostileWorld,
  paths: readonly object[],
  { by, held = world.heldBuild, toplevel }: { by?: Identity; held?: Held; toplevel?: string } = {},
): Promise<Answer> {
  const { job, fence } = held
  const body = { job, fence, paths, ...(toplevel === undefined ? {} : { toplevel }) }
  return call(world, '/v1/builder/cache/commit', body, by)
}

/** Says of a file that lies in the bucket that it is another path. */
function onlyName(world: HostileWorld): Upload {
  const path = fakePath('smuggled')
  return { ...world.cache.cachedPath, path, nar_hash: sri(path) }
}

function circle(world: HostileWorld): object[] {
  const [one, two] = [fakePath('one'), fakePath('two')]
  return [
    { ...onlyName(world), path: one, references: [two] },
    { ...onlyName(world), path: two, references: [one] },
  ]
}

/** Of a file that nobody has uploaded. */
function upload(name: string): object {
  const fileHash = sri(name)
  return {
    path: fakePath(name),
    nar_hash: sri(`${name} unpacked`),
    nar_size: 100,
    references: [],
    deriver: null,
    ca: null,
    url: `nar/${nix32OfHash(fileHash).slice('sha256:'.length)}.nar.zst`,
    compression: 'zstd',
    file_hash: fileHash,
    file_size: 50,
  }
}
