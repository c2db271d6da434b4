// Who may import whom. Each rule ends in a sentence that a newcomer understands; `docs/adr/0001` says why.
// Tests may import anything, therefore every rule about directions leaves them out.

const OURS = '^(packages|functions|server|infra|builder-agent|host-agent|cli|console|test|bench|scripts)/'
const PRODUCT = '^(packages|functions|server|infra|builder-agent|host-agent|cli|console)/'
const TEST = '\\.test\\.ts$'

/** Code below `from` may import itself and what `allowed` matches, and nothing else of ours. */
const only = (name, from, allowed, comment) => ({
  name,
  comment,
  severity: 'error',
  from: { path: from, pathNot: TEST },
  to: { path: OURS, pathNot: [from, ...allowed] },
})

const never = (name, from, to, comment) => ({
  name,
  comment,
  severity: 'error',
  from: { pathNot: TEST, ...from },
  to,
})

/** Files named after one side: `sign.ts`, `sign-request.ts`, `request-sign.ts`; not `signature-base.ts`. */
const side = (verb) => `^packages/protocol/src.*[/-]${verb}[.-]`

module.exports = {
  forbidden: [
    only('protocol', '^packages/protocol/', [], 'protocol is the ground floor: it imports nothing of ours.'),
    only('nix-cli', '^packages/nix-cli/', ['^packages/protocol/'], 'nix-cli knows the protocol only.'),
    only(
      'aws',
      '^packages/aws/',
      ['^packages/protocol/'],
      'aws knows the protocol only: whether it fits a port is checked where it is wired.',
    ),
    only(
      'control-plane',
      '^packages/control-plane/',
      ['^packages/protocol/'],
      'Decisions do not know who carries them out: control-plane imports protocol only.',
    ),
    only(
      'postgres',
      '^packages/postgres/',
      ['^packages/(protocol|control-plane)/'],
      'postgres implements the ports of control-plane and knows nothing above them.',
    ),
    only(
      'functions',
      '^functions/',
      ['^packages/(protocol|control-plane|postgres|aws)/'],
      'A function wires ports to a use case; it never runs Nix and never imports a program.',
    ),
    only(
      'server',
      '^server/',
      ['^functions/', '^packages/(protocol|control-plane|postgres|aws)/'],
      'The one-process form runs the same handlers as AWS, never an agent.',
    ),
    only(
      'builder-agent',
      '^builder-agent/',
      ['^packages/(protocol|nix-cli|aws)/'],
      'A builder speaks HTTP and S3; it never sees the database.',
    ),
    only(
      'host-agent',
      '^host-agent/',
      ['^packages/(protocol|nix-cli)/'],
      'The host agent runs as root on every host: it imports protocol and nix-cli, and nothing else, ever.',
    ),
    only(
      'cli',
      '^cli/',
      ['^packages/protocol/'],
      'The CLI is a client of the API: it imports protocol only.',
    ),
    only(
      'infra',
      '^infra/',
      ['^functions/routes\\.ts$', '^functions/[^/]+/config\\.ts$'],
      'infra reads the route table and the shape of a config, never a handler.',
    ),
    never(
      'tests-stay-out',
      { path: PRODUCT, pathNot: TEST },
      { path: ['^(test|bench|scripts)/', TEST] },
      'What ships never imports a test, a benchmark or a script.',
    ),
    never(
      'sign-not-verify',
      { path: side('sign') },
      { path: side('verify') },
      'The signing side never imports the verifying side: they meet only in shared schemas and bytes.',
    ),
    never(
      'verify-not-sign',
      { path: side('verify') },
      { path: side('sign') },
      'The verifying side never imports the signing side: a verifier must not be able to sign.',
    ),
    never(
      'io-stays-out',
      { path: '^packages/control-plane/src/', pathNot: TEST },
      {
        path: [
          '^(node:)?(fs|child_process|net|tls|dgram|http|http2|https|dns|os|process|worker_threads)(/|$)',
          '(^|/)(@aws-sdk/|pg(/|$))',
        ],
      },
      'A use case talks to the world through its ports: no files, sockets, processes or SDKs in control-plane.',
    ),
    never(
      'aws-sdk-in-one-place',
      { path: PRODUCT, pathNot: ['^packages/aws/', TEST] },
      { path: '(^|/)(@aws-sdk|@smithy)/' },
      'AWS clients are made in packages/aws only, so that endpoints, retries and identity are set in one place.',
    ),
    never(
      'declared-only',
      { path: PRODUCT, pathNot: ['^infra/', TEST] },
      // Types of third parties ship with nothing and are declared once, at the root.
      { dependencyTypes: ['npm-no-pkg', 'npm-unknown', 'npm-dev'], pathNot: '^node_modules/@types/' },
      'A workspace imports only packages that its own package.json declares as dependencies.',
    ),
    never('resolvable', {}, { couldNotResolve: true }, 'Every import must lead somewhere.'),
    {
      name: 'no-cycles',
      comment: 'Two files that import each other are one file in disguise: move what both need below them.',
      severity: 'error',
      from: {},
      to: { circular: true },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '(^|/)(dist|cdk\\.out|\\.cache)/|^test/fixtures/' },
    // `import type` counts: a type is a dependency on the shape of somebody else.
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['import', 'types', 'default'] },
  },
}
