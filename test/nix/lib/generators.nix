{ lib }:
{
  toJSON = { }: builtins.toJSON;
}
