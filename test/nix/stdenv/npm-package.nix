# In place of what the registry has: the package as it lies in the node_modules of the checkout, which npm ci held against the same
# integrity. `npm pack` puts everything below one directory, too.
{ stdenvNoCC, nodeModules }:
{ place, name, version, integrity }:
stdenvNoCC.mkDerivation {
  name = "${builtins.replaceStrings [ "@" "/" ] [ "" "-" ] name}-${version}.tar";
  inherit integrity;
  buildCommand = ''
    cd ${nodeModules}/../${place}
    tar --create --file $out --exclude ./node_modules --transform s,^./,package/, .
  '';
}
