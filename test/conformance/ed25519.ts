import { decodeHex, verifyEd25519, verifyEd25519InPool } from '@crystal-forge/protocol'
import { type Answer, casesOf, Facts, idOf } from './case-file.ts'

/** Wycheproof files (`testGroups[].publicKey.pk`, `tests[].msg`, `.sig`) and plain lists of `{id, message, pub_key, signature}`, all hex. */
export async function runEd25519(file: unknown): Promise<readonly Answer[]> {
  const groups = new Facts(file).list('testGroups')
  if (groups.length === 0) {
    return Promise.all(casesOf(file).map(({ id, facts }) => verdict(id, facts, facts.text(...KEY_NAMES))))
  }
  const verdicts = groups.flatMap((value) => {
    const group = new Facts(value)
    const publicKey = group.object('publicKey', 'key').text('pk')
    return group.list('tests').map((test, at) => {
      const facts = new Facts(test)
      return verdict(facts.number('tcId') ?? idOf(facts) ?? at + 1, facts, publicKey)
    })
  })
  return Promise.all(verdicts)
}

async function verdict(id: string | number, facts: Facts, key: string | undefined): Promise<Answer> {
  const message = decodeHex(facts.text('message', 'msg') ?? '')
  const publicKey = decodeHex(key ?? '')
  const signature = decodeHex(facts.text('signature', 'sig') ?? '')
  if (message === null || publicKey === null || signature === null)
    return { id, accept: false, code: 'malformed' }
  const claim = { message, publicKey, signature }
  const accept = await verifyEd25519InPool(claim)
  if (accept !== verifyEd25519(claim)) throw new Error(`case ${id}: the two forms of the verifier disagree`)
  return { id, accept, code: accept ? 'accepted' : 'bad_signature' }
}

const KEY_NAMES = ['pub_key', 'public_key', 'publicKey', 'pk']
