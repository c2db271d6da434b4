import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { defineConfig, type ViteUserConfig } from 'vitest/config'

const postgres = fileURLToPath(new URL('./test/postgres/global-setup.ts', import.meta.url))

const config: ViteUserConfig = defineConfig({
  test: {
    include: ['{packages,functions,server,builder-agent,host-agent,cli,infra,scripts,test}/**/*.test.ts'],
    exclude: ['**/node_modules/**', '**/dist/**', 'test/fixtures/**'],
    globalSetup: existsSync(postgres) ? [postgres] : [],
    pool: 'forks',
    // Two cores carry the tests together with Postgres, the emulator and Nix.
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 60_000,
  },
})

export default config
