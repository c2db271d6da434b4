import { signEd25519 } from '@crystal-forge/protocol'
import { fakePath } from '../../pipeline/world.ts'
import type { Answer } from '../raw-http.ts'
import { REPORTS } from './honest-report.ts'
import { cases, type HostileCase } from './hostile-case.ts'
import type { HostileWorld } from './hostile-world.ts'

/** The wire of the original, which this tenant has not switched on. */
export function legacyCases(): readonly HostileCase[] {
  return cases('original wire', [
    ['a state while it is switched off', original('/agent/state'), 401, 'signature_refused'],
    ['a heartbeat while it is switched off', original('/agent/heartbeat'), 401, 'signature_refused'],
    ['a system_state while it is switched off', original('/system_state'), 401, 'signature_refused'],
    ['its headers on the new route', original(REPORTS), 401, 'unsigned', 'Signature-Input'],
    ['its headers where hosts enrol', original('/v1/enroll'), 401, 'unsigned'],
    ['its headers where builders work', original('/v1/builder/claims'), 401, 'unsigned'],
    ['its headers where operators ask', original('/v1/original-wire'), 401, 'token_refused'],
    ['a host name that steers a terminal', original('/agent/state', '\u009b31m'), 401, 'signature_refused'],
    [
      'a host name that is SQL',
      original('/agent/state', "'; drop table system; --"),
      401,
      'signature_refused',
    ],
    [
      'a body of more than 2 MiB',
      (w) =>
        w.send({
          method: 'POST',
          target: '/agent/state',
          headers: [['host', w.authority]],
          body: Buffer.alloc(2 * 1024 * 1024 + 1),
        }),
      413,
      'body_too_large',
    ],
  ])
}

/** As an agent 0.2.x of web-1 sends it: the signature covers the body alone. */
function original(target: string, name = 'web-1'): (world: HostileWorld) => Promise<Answer> {
  return (world) => {
    const state = {
      hostname: 'web-1',
      change_reason: 'startup',
      timestamp: new Date().toISOString(),
      store_path: fakePath('nixos-system-web-1'),
    }
    const body = Buffer.from(JSON.stringify(state))
    const signature = Buffer.from(signEd25519(body, world.hosts.web.seed)).toString('base64')
    return world.send({
      method: 'POST',
      target,
      body,
      headers: [
        ['host', world.authority],
        ['content-type', 'application/json'],
        ['x-key-id', name],
        ['x-signature', signature],
      ],
    })
  }
}
