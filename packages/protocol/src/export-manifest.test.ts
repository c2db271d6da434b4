import fc from 'fast-check'
import { expect, test } from 'vitest'
import { parseEnvelope, renderEnvelope } from './dsse.ts'
import { signEnvelope } from './dsse-sign.ts'
import { compareBundle, type ExportManifest, MANIFEST_FILE, readExportManifest } from './export-manifest.ts'
import { keyId } from './keys.ts'
import { generateKeyPair } from './secret-seed.ts'
import { verifyExportManifest } from './signed-document.ts'
import { signExportManifest } from './signed-document-sign.ts'

const { seed, publicKey } = generateKeyPair(() => new Uint8Array(32).fill(7))
const trusted = [{ keyId: keyId(publicKey), publicKey, role: 'exports', person: 'control plane' }]

const fileOf = (name: string): ExportManifest['files'][number] => ({
  name,
  format: 'cklb',
  host: 'web-1',
  media_type: 'application/json',
  bytes: 3,
  sha256: 'a'.repeat(64),
})
const manifest: ExportManifest = {
  v: 1,
  tenant: 't_1',
  as_of: '2026-11-24T12:00:00.000Z',
  benchmark: 'Anduril_NixOS_STIG',
  release: 'V1R2',
  catalogue_sha256: 'b'.repeat(64),
  hosts: [{ system: 'sys_1', hostname: 'web-1' }],
  files: [fileOf('web-1.ckl'), fileOf('web-1.cklb')],
}

test('a manifest is opened with the pinned key, and is the same bytes each time', () => {
  const envelope = signExportManifest(manifest, seed)
  expect(signExportManifest(manifest, seed)).toEqual(envelope)
  expect(verifyExportManifest(envelope, trusted)).toMatchObject({ ok: true, manifest })
  expect(verifyExportManifest(envelope, [])).toEqual({ ok: false, code: 'bad_signature' })
})

test('no bit of what was signed can be another one', () => {
  const { payload, ...envelope } = signExportManifest(manifest, seed)
  const bytes = Buffer.from(payload, 'base64')
  fc.assert(
    fc.property(fc.nat(bytes.length - 1), fc.nat(7), (at, bit) => {
      const other = Buffer.from(bytes)
      other[at] = (other[at] ?? 0) ^ (1 << bit)
      const read = verifyExportManifest({ ...envelope, payload: other.toString('base64') }, trusted)
      expect(read).toEqual({ ok: false, code: 'bad_signature' })
    }),
  )
})

test.each<[string, object, RegExp]>([
  ['a member that nobody knows', { more: true }, /Unrecognized key/],
  ['another version', { v: 2 }, /^v: /],
  ['a name that leads out', { files: [fileOf('../web-1.cklb')] }, /files.0.name: expected a name/],
  ['an absolute name', { files: [fileOf('/etc/passwd')] }, /files.0.name/],
  ['a hidden name', { files: [fileOf('.ssh')] }, /files.0.name/],
  ['a name with a NUL', { files: [fileOf('a\u0000b')] }, /files.0.name/],
  ['itself', { files: [fileOf(MANIFEST_FILE)] }, /is the manifest itself/],
  ['a name twice', { files: [fileOf('a'), fileOf('a')] }, /each once/],
  ['names in another order', { files: [fileOf('b'), fileOf('a')] }, /in order/],
  ['no files', { files: [] }, /^files: /],
  ['a digest in upper case', { files: [{ ...fileOf('a'), sha256: 'A'.repeat(64) }] }, /files.0.sha256/],
  ['a size below nothing', { files: [{ ...fileOf('a'), bytes: -1 }] }, /files.0.bytes/],
  ['no zone', { as_of: '2026-11-24T12:00:00' }, /^as_of: /],
])('a signed manifest with %s is refused all the same', (_, more, words) => {
  const payload = Buffer.from(JSON.stringify({ ...manifest, ...more }))
  const type = 'application/vnd.crystalforge.export.v1+json'
  const envelope = renderEnvelope(signEnvelope({ payloadType: type, payload }, [seed]))
  expect(verifyExportManifest(envelope, trusted)).toMatchObject({
    ok: false,
    code: 'malformed_manifest',
    detail: expect.stringMatching(words),
  })
})

test('what no signature was checked of can be read, and is the same', () => {
  const envelope = parseEnvelope(signExportManifest(manifest, seed))
  expect(readExportManifest(envelope?.payload ?? new Uint8Array())).toEqual({ ok: true, manifest })
  expect(readExportManifest(new Uint8Array([0x7b]))).toMatchObject({ ok: false, code: 'malformed_manifest' })
})

test('a bundle is whole exactly when every file of the list is there as it was, and no other', () => {
  const names = ['web-1.ckl', 'web-1.cklb', 'other']
  const found = fc.subarray(names).chain((chosen) =>
    fc.record({
      files: fc.constant(chosen),
      touched: fc.subarray(chosen),
    }),
  )
  fc.assert(
    fc.property(found, ({ files, touched }) => {
      const faults = compareBundle(
        manifest,
        files.map((name) => ({ name, bytes: 3, sha256: (touched.includes(name) ? 'c' : 'a').repeat(64) })),
      )
      const wanted = [
        ...['web-1.ckl', 'web-1.cklb'].flatMap((name) => {
          if (!files.includes(name)) return [`${name} missing`]
          return touched.includes(name) ? [`${name} changed`] : []
        }),
        ...(files.includes('other') ? ['other extra'] : []),
      ]
      expect(faults.map(({ file, kind }) => `${file} ${kind}`)).toEqual(wanted)
    }),
  )
})
