import { expect, test } from 'vitest'
import { readDatabaseUrl } from './database-url.ts'

const plain = { port: 5432, user: 'u', database: 'd', password: undefined, tls: undefined, caFile: undefined }

test.each([
  { url: 'postgres://u@127.0.0.1/d', is: { ...plain, host: '127.0.0.1' } },
  {
    url: 'postgresql://u:p%40ss@localhost:6000/d',
    is: { ...plain, host: 'localhost', port: 6000, password: 'p@ss' },
  },
  {
    url: 'postgres://u@db.example/d',
    is: { ...plain, host: 'db.example', tls: { servername: 'db.example' } },
  },
  { url: 'postgres://u@db.example/d?sslmode=disable', is: { ...plain, host: 'db.example' } },
  {
    url: 'postgres://u@127.0.0.1/d?sslmode=verify-full&sslrootcert=/etc/ca.pem',
    is: { ...plain, host: '127.0.0.1', tls: { servername: '127.0.0.1' }, caFile: '/etc/ca.pem' },
  },
  { url: 'postgres:///d?host=/run/postgresql&user=u', is: { ...plain, host: '/run/postgresql' } },
  { url: 'postgres://u@%2Frun%2Fpostgresql/d', is: { ...plain, host: '/run/postgresql' } },
  { url: 'postgres://u@[::1]/d', is: { ...plain, host: '::1' } },
])('$url', ({ url, is }) => {
  expect(readDatabaseUrl(url)).toEqual(is)
})

test.each([
  { url: 'host=localhost dbname=d', says: 'is not a URL such as' },
  { url: 'mysql://u:secret@h/d', says: 'write postgres://' },
  { url: 'postgres://u:secret@h', says: 'names no database' },
  { url: 'postgres://h/d', says: 'names no user' },
  { url: 'postgres:///d?user=u', says: 'names no host' },
  { url: 'postgres://u:secret@h/d?sslmode=require', says: 'write verify-full or disable' },
  { url: 'postgres://u:secret@h/d?ssl=true', says: 'known are host, user' },
  { url: 'postgres://u:secret@h/d?sslmode=disable&sslmode=disable', says: 'twice' },
  { url: 'postgres://u:secret%@h/d', says: 'write %25' },
  { url: 'postgres://u:secret@h/d#x', says: 'write %23' },
  { url: 'postgres://u:secret@h:99999/d', says: 'is not a URL such as' },
])('$url is refused: $says', ({ url, says }) => {
  expect(() => readDatabaseUrl(url)).toThrow(says)
  expect(() => readDatabaseUrl(url)).not.toThrow('secret')
})
