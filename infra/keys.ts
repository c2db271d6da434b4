import { Stack } from 'aws-cdk-lib'
import { AccountRootPrincipal, PolicyDocument, ServicePrincipal } from 'aws-cdk-lib/aws-iam'
import { Key, KeySpec, KeyUsage } from 'aws-cdk-lib/aws-kms'
import type { Construct } from 'constructs'
import { arn, explainWildcards, type Grant, ownAccount, statement } from './grants.ts'
import { KEPT } from './kept.ts'

/** A key that the services in `users` may use for what they keep, each under its own condition. */
export function storageKey(
  scope: Construct,
  id: string,
  { alias, description, users }: { alias: string; description: string; users: readonly KeyUser[] },
): Key {
  const grants: Grant[] = [ACCOUNT, ...users.map((user) => user.grant)]
  const key = new Key(scope, id, {
    alias,
    description,
    enableKeyRotation: true,
    removalPolicy: KEPT,
    policy: new PolicyDocument({
      statements: [
        rootStatement(),
        ...users.map(({ service, grant }) => {
          const one = statement(grant)
          one.addPrincipals(new ServicePrincipal(service))
          return one
        }),
      ],
    }),
  })
  explainWildcards(key, grants)
  return key
}

/** Ed25519 in KMS, for documents of less than 4096 bytes: nobody can copy this key. */
export function signingKey(
  scope: Construct,
  id: string,
  { alias, description }: { alias: string; description: string },
): Key {
  const key = new Key(scope, id, {
    alias,
    description,
    keySpec: KeySpec.ECC_NIST_EDWARDS25519,
    keyUsage: KeyUsage.SIGN_VERIFY,
    removalPolicy: KEPT,
    policy: new PolicyDocument({ statements: [rootStatement()] }),
  })
  explainWildcards(key, [ACCOUNT])
  return key
}

export type KeyUser = { readonly service: string; readonly grant: Grant }

/** The log groups of one deployment. */
export function logsUser(scope: Construct, name: string): KeyUser {
  const { region } = Stack.of(scope)
  // One of the few services that are called differently in China.
  const suffix = region.startsWith('cn-') ? 'amazonaws.com.cn' : 'amazonaws.com'
  const groups = [
    `/aws/lambda/${name}-*`,
    `/aws/events/${name}`,
    `/aws/rds/instance/${name}/*`,
    `/aws/rds/cluster/${name}/*`,
    `/${name}/*`,
  ]
  return {
    service: `logs.${region}.${suffix}`,
    grant: {
      sid: 'Logs',
      actions: USE,
      resources: ['*'],
      when: {
        ArnLike: {
          'kms:EncryptionContext:aws:logs:arn': groups.map((group) =>
            arn(scope, 'logs', `log-group:${group}`),
          ),
        },
      },
      because: THE_KEY_ITSELF,
    },
  }
}

/** A service that sends to an encrypted topic, on behalf of this account. */
export function senderUser(scope: Construct, service: string, sid: string): KeyUser {
  return {
    service,
    grant: {
      sid,
      actions: ['kms:Decrypt', 'kms:GenerateDataKey'],
      resources: ['*'],
      when: ownAccount(scope),
      because: THE_KEY_ITSELF,
    },
  }
}

function rootStatement() {
  const root = statement(ACCOUNT)
  root.addPrincipals(new AccountRootPrincipal())
  return root
}

const THE_KEY_ITSELF = 'in the policy of a key, * means this key'
const ACCOUNT: Grant = {
  sid: 'Account',
  actions: ['kms:*'],
  resources: ['*'],
  because:
    'in the policy of a key, * means this key; without this statement no policy of the account, and so nobody, could use or repair it',
}
const USE = [
  'kms:Encrypt',
  'kms:Decrypt',
  'kms:ReEncryptFrom',
  'kms:ReEncryptTo',
  'kms:GenerateDataKey',
  'kms:GenerateDataKeyWithoutPlaintext',
  'kms:DescribeKey',
]
