; UNTESTED: written to Inno Setup 6's documentation, never compiled or run. It packs the folder that
; `python packaging\bootstrap.py bundle` leaves in dist\lemmascope on Windows.
;   iscc /DVersion=VERSION packaging\windows\lemmascope.iss

#ifndef Version
  #error "say the version: iscc /DVersion=..."
#endif

[Setup]
AppId={{6E1B2A74-7C0B-4C52-9C7E-3F1B0E9B6D11}
AppName=Lemmascope
AppVersion={#Version}
DefaultDirName={autopf}\Lemmascope
DefaultGroupName=Lemmascope
PrivilegesRequired=lowest
ArchitecturesAllowed=x64compatible
ArchitecturesInstallIn64BitMode=x64compatible
ChangesAssociations=yes
LicenseFile=..\..\LICENSE
OutputDir=..\..\dist
OutputBaseFilename=lemmascope-{#Version}-windows-x86_64
UninstallDisplayIcon={app}\lemmascope.exe
Compression=lzma2
SolidCompression=yes

[Files]
Source: "..\..\dist\lemmascope\*"; DestDir: "{app}"; Flags: recursesubdirs ignoreversion

[Icons]
Name: "{group}\Lemmascope"; Filename: "{app}\lemmascope.exe"

[Registry]
; Windows knows only the last part of a name, so `.h5` is offered "Open with" and not taken over.
Root: HKCU; Subkey: "Software\Classes\.h5\OpenWithProgids"; ValueType: string; ValueName: "Lemmascope.Session"; ValueData: ""; Flags: uninsdeletevalue
Root: HKCU; Subkey: "Software\Classes\Lemmascope.Session"; ValueType: string; ValueData: "Lemmascope session"; Flags: uninsdeletekey
Root: HKCU; Subkey: "Software\Classes\Lemmascope.Session\DefaultIcon"; ValueType: string; ValueData: "{app}\lemmascope.exe,0"
Root: HKCU; Subkey: "Software\Classes\Lemmascope.Session\shell\open\command"; ValueType: string; ValueData: """{app}\lemmascope.exe"" app ""%1"""

[Run]
Filename: "{app}\lemmascope.exe"; Description: "Start Lemmascope"; Flags: postinstall nowait skipifsilent
