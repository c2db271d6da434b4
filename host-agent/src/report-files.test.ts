import { mkdir, readdir, stat, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { memoryReportFiles } from '../test/memory-report-files.ts'
import { temporaryDirectory } from '../test/prepared-tree.ts'
import { writeDurably } from './durable-write.ts'
import { type ReportFiles, reportFilesIn } from './report-files.ts'

const bytes = (text: string) => new TextEncoder().encode(text)
const names = async (files: ReportFiles, place: 'spool' | 'quarantine') =>
  (await files.list(place)).map((file) => file.name)

async function onDisk(test: (files: ReportFiles, directory: string) => Promise<void>): Promise<void> {
  await using directory = await temporaryDirectory()
  await test(await reportFilesIn(directory.path), directory.path)
}

describe.each<[string, (test: (files: ReportFiles) => Promise<void>) => Promise<void>]>([
  ['on disk', onDisk],
  ['in memory', (test) => test(memoryReportFiles())],
])('report files %s', (_, withFiles) => {
  it('are listed by name with their size', () =>
    withFiles(async (files) => {
      await files.write('b', bytes('22'))
      await files.write('a', bytes('1'))
      expect(await files.list('spool')).toEqual([
        { name: 'a', bytes: 1 },
        { name: 'b', bytes: 2 },
      ])
      expect(Buffer.from(await files.read('b')).toString()).toBe('22')
    }))

  it('move to quarantine and are removed from either place', () =>
    withFiles(async (files) => {
      await files.write('a', bytes('1'))
      await files.write('b', bytes('2'))
      await files.moveToQuarantine('a')
      await files.remove('spool', 'b')
      await files.remove('spool', 'never there')
      expect(await names(files, 'spool')).toEqual([])
      expect(await names(files, 'quarantine')).toEqual(['a'])
      await files.remove('quarantine', 'a')
      expect(await names(files, 'quarantine')).toEqual([])
    }))

  it('reject what is not there', () =>
    withFiles(async (files) => {
      await expect(files.read('a')).rejects.toThrow()
      await expect(files.moveToQuarantine('a')).rejects.toThrow()
    }))
})

describe('files on disk', () => {
  it('forget the leftovers of interrupted writes and let nobody else read', () =>
    onDisk(async (files, directory) => {
      await writeFile(path.join(directory, 'spool', '1.json.tmp'), 'half')
      expect(await names(files, 'spool')).toEqual([])
      await reportFilesIn(directory)
      expect(await readdir(path.join(directory, 'spool'))).toEqual([])
      await files.write('a', bytes('1'))
      expect((await stat(path.join(directory, 'spool'))).mode & 0o777).toBe(0o700)
      expect((await stat(path.join(directory, 'spool', 'a'))).mode & 0o777).toBe(0o600)
    }))

  it('hold the old content or the new one when a write fails, and nothing besides', () =>
    onDisk(async (_, directory) => {
      const file = path.join(directory, 'x')
      await writeDurably(file, 'old')
      await mkdir(`${file}.tmp`)
      await expect(writeDurably(file, 'new')).rejects.toThrow(/EISDIR/)
      await expect(writeDurably(path.join(directory, 'no', 'x'), 'new')).rejects.toThrow(/ENOENT/)
      expect(await readdir(directory)).toEqual(expect.arrayContaining(['spool', 'x']))
    }))
})
