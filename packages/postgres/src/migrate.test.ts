import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createTestDatabase, type TestDatabase } from '../../../test/postgres/test-database.ts'
import { checkSchema, type Migrated, type MigrationSet, migrate, type SqlFile } from './migrate.ts'

let database: TestDatabase
beforeEach(async () => {
  database = await createTestDatabase({ content: 'empty' })
})
afterEach(() => database.drop())

const one = {
  name: '0001_one.sql',
  sql: '-- compatible\ncreate table one (id int primary key);\ninsert into one values (1);',
}
const two = { name: '0002_two.sql', sql: '-- compatible\ncreate table two (id int);' }
const three = { name: '0003_three.sql', sql: '-- breaking\nalter table one rename to renamed;' }
const view = { name: 'ones.sql', sql: 'create or replace view ones as select id from one;' }

async function run(files: readonly SqlFile[], views: readonly SqlFile[] = []): Promise<Migrated> {
  return apply({ files, views })
}

async function apply(set: MigrationSet): Promise<Migrated> {
  const session = await database.admin.connect()
  try {
    return await migrate(session, set)
  } finally {
    session.release()
  }
}

async function tables(): Promise<string[]> {
  const { rows } = await database.admin.query(
    "select relname from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'v') order by 1",
  )
  return rows.map(({ relname }) => relname).filter((name) => !name.startsWith('schema_'))
}

test('files are applied once, in order of their names', async () => {
  expect(await run([two, one])).toEqual({ applied: [one.name, two.name], views: [], notices: [] })
  expect(await run([one, two])).toEqual({ applied: [], views: [], notices: [] })
  expect(await tables()).toEqual(['one', 'two'])
})

test('of three that start at once exactly one applies each file', async () => {
  const many = [one, two, ...Array.from({ length: 8 }, (_, n) => numbered(n + 3, `create table t${n} ();`))]
  const outcomes = await Promise.all([run(many, [view]), run(many, [view]), run(many, [view])])
  expect(outcomes.flatMap(({ applied }) => applied).sort()).toEqual(many.map(({ name }) => name))
  expect(outcomes.flatMap(({ views }) => views)).toEqual([view.name])
})

test('a file that fails is named with its line, leaves nothing, and can be repaired and applied', async () => {
  const broken = { name: '0002_two.sql', sql: '-- compatible\ncreate table two (id int);\nselect nonsense;' }
  await expect(run([one, broken])).rejects.toThrow('0002_two.sql:3: column "nonsense" does not exist')
  expect(await tables()).toEqual(['one'])
  expect((await run([one, two])).applied).toEqual([two.name])
})

test('an edited file is refused with the remedy', async () => {
  await run([one])
  await expect(run([{ ...one, sql: `${one.sql}\n` }, two])).rejects.toThrow(
    /0001_one\.sql: edited after.*new one/,
  )
  expect(await tables()).toEqual(['one'])
})

describe('a schema that is newer than the program', () => {
  test('is lived with when the unknown file is compatible, and keeps its views', async () => {
    await run([one, two], [{ ...view, sql: 'create or replace view ones as select id, 2 as more from one;' }])
    const { applied, views, notices } = await run([one], [view])
    expect({ applied, views }).toEqual({ applied: [], views: [] })
    expect(notices).toEqual([expect.stringContaining('0002_two.sql')])
  })

  test('is refused when the unknown file is breaking', async () => {
    await run([one, two, three])
    await expect(run([one, two])).rejects.toThrow(/newer than this program.*0003_three\.sql.*upgrade/)
  })
})

describe('views', () => {
  const wider = { ...view, sql: 'create or replace view ones as select id, id + 1 as next from one;' }

  test('are applied again when one of them changed', async () => {
    expect((await run([one], [view])).views).toEqual([view.name])
    expect((await run([one], [view])).views).toEqual([])
    expect((await run([one], [wider])).views).toEqual([view.name])
  })

  test('are applied again after any numbered file, which may have dropped them', async () => {
    await run([one], [view])
    const dropping = numbered(2, 'drop view ones; alter table one alter column id type int8;')
    expect((await run([one, dropping], [view])).views).toEqual([view.name])
    expect(await tables()).toContain('ones')
  })

  test('may hold functions that call each other in any order, and are checked all the same', async () => {
    const early = {
      name: 'a.sql',
      sql: 'create or replace function early() returns int language sql as $$ select late() $$;',
    }
    const late = {
      name: 'b.sql',
      sql: 'create or replace function late() returns int language sql as $$ select 1 $$;',
    }
    expect((await run([one], [early, late])).views).toEqual(['a.sql', 'b.sql'])
    const wrong = { ...late, sql: late.sql.replace('select 1', 'select nowhere()') }
    await expect(run([one], [early, wrong])).rejects.toThrow(/b\.sql:1: function nowhere\(\) does not exist/)
  })

  test('are all there or none', async () => {
    const broken = { name: 'zz.sql', sql: 'create view zz as select nonsense;' }
    await expect(run([one], [view, broken])).rejects.toThrow('zz.sql:1: column "nonsense" does not exist')
    expect(await tables()).toEqual(['one'])
  })
})

test('an index can be made concurrently while other programs wait to migrate', async () => {
  const index = {
    name: '0002_index.sql',
    sql: '-- compatible\n-- Large table.\n-- no-transaction\ndrop index concurrently if exists by_id;\ncreate index concurrently by_id on one (id);\n',
  }
  const outcomes = await Promise.all([run([one, index]), run([one, index]), run([one, index])])
  expect(outcomes.flatMap(({ applied }) => applied).sort()).toEqual([one.name, index.name])
  expect(
    (await database.admin.query("select indisvalid from pg_index where indexrelid = 'by_id'::regclass")).rows,
  ).toEqual([{ indisvalid: true }])
})

test.each([
  { files: [{ name: 'first.sql', sql: '-- compatible' }], says: /first\.sql: a migration is called NNNN/ },
  { files: [one, three], says: /0003_three\.sql: the next number is 0002/ },
  { files: [one, { ...two, name: '0001_two.sql' }], says: /0001_two\.sql: the next number is 0002/ },
  { files: [{ name: '0001_one.sql', sql: 'select 1' }], says: /0001_one\.sql: line 1 must be/ },
  {
    files: [{ name: '0001_one.sql', sql: '-- compatible\n-- no-transaction\ndo $$ $$;' }],
    says: /plain statements only/,
  },
])('$says is the answer to a malformed set', async ({ files, says }) => {
  await expect(run(files)).rejects.toThrow(says)
})

test('a file that got its number after a later one was applied is refused', async () => {
  await run([one, two])
  const other = { ...two, name: '0002_a_late_comer.sql' }
  await expect(run([one, other])).rejects.toThrow(/0002_a_late_comer\.sql: sorts below 0002_two\.sql/)
})

test('a program that does not migrate is told what it can expect', async () => {
  const names = [one.name, two.name]
  expect(await checkSchema(database.admin, names)).toEqual({ kind: 'behind', missing: names })
  await run([one])
  expect(await checkSchema(database.admin, names)).toEqual({ kind: 'behind', missing: [two.name] })
  await run([one, two])
  expect(await checkSchema(database.admin, names)).toEqual({ kind: 'usable', newer: [] })
  expect(await checkSchema(database.admin, [one.name])).toEqual({ kind: 'usable', newer: [two.name] })
  await run([one, two, three])
  expect(await checkSchema(database.admin, names)).toEqual({ kind: 'too-new', breaking: [three.name] })
})

test('any role may read which files were applied, and none may write it', async () => {
  await run([one])
  await database.admin.query(
    'do $$ begin create role reader login; exception when duplicate_object then null; end $$',
  )
  const reader = database.poolFor('reader')
  expect(await checkSchema(reader, [one.name])).toEqual({ kind: 'usable', newer: [] })
  await expect(reader.query('delete from schema_migration')).rejects.toThrow(/permission denied/)
})

function numbered(number: number, sql: string): SqlFile {
  return { name: `${String(number).padStart(4, '0')}_step.sql`, sql: `-- compatible\n${sql}` }
}
