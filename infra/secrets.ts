import type { IKey } from 'aws-cdk-lib/aws-kms'
import { CfnSecret } from 'aws-cdk-lib/aws-secretsmanager'
import type { Construct } from 'constructs'
import { acknowledge } from './acknowledge.ts'
import { KEPT } from './kept.ts'

/** ARNs of the secrets. Each is made without a value; `first-secrets` or a person gives it the first one. */
export type SecretArns = Readonly<Record<SecretName, string>>
export type SecretName = keyof typeof SECRETS

export function secrets(scope: Construct, name: string, key: IKey): SecretArns {
  const make = (secret: SecretName): string => {
    const { id, meaning, rotation } = SECRETS[secret]
    const made = new CfnSecret(scope, id, {
      name: `${name}/${secret}`,
      description: meaning,
      kmsKeyId: key.keyArn,
    })
    made.applyRemovalPolicy(KEPT)
    acknowledge(made, {
      'AwsSolutions-SMG4': rotation,
      'NIST.800.53.R5-SecretsManagerRotationEnabled': rotation,
    })
    return made.ref
  }
  return {
    'sealing-key': make('sealing-key'),
    'job-signing-key': make('job-signing-key'),
    'narinfo-key': make('narinfo-key'),
    'export-signing-key': make('export-signing-key'),
    'admin-token': make('admin-token'),
  }
}

const SECRETS = {
  'sealing-key': {
    id: 'SealingKey',
    meaning: 'base64 of 32 bytes; seals the secrets of hooks in the database',
    rotation: 'what it sealed has to be sealed again with the next one; the runbook says how',
  },
  'job-signing-key': {
    id: 'JobSigningKey',
    meaning: 'base64 of the 32-byte seed that signs job documents',
    rotation: 'builders pin its public half in their configuration; it is rotated together with them',
  },
  'narinfo-key': {
    id: 'NarinfoKey',
    meaning: 'secret key of the cache, as Nix writes it (name:base64)',
    rotation: 'hosts pin its public half in their configuration; it is rotated together with them',
  },
  'export-signing-key': {
    id: 'ExportSigningKey',
    meaning: 'base64 of the 32-byte seed that signs manifests of exports',
    rotation:
      'auditors pin its public half and keep the one before it for older bundles; it is rotated together with them',
  },
  'admin-token': {
    id: 'AdminToken',
    meaning: 'the first token of an operator; revoke it once there are others',
    rotation: 'it expires by itself; the next ones are made by `cf token create`',
  },
} as const
