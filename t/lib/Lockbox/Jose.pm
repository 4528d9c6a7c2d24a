package Lockbox::Jose;

# Keys, key sets and signed tokens (RFC 7515, 7517, 7518, 7638) for tests and
# the demonstration.  It signs whatever it is told to sign, right or wrong.
# All arithmetic is the openssl command's, some 5 ms a signature.

use strict;
use warnings;

use Exporter qw(import);
use Fcntl qw(:flock);
use File::Basename qw(dirname);
use File::Path qw(make_path);
use File::Spec;
use File::Temp;
use IPC::Open3 qw(open3);
use Digest::SHA qw(sha256 hmac_sha256 hmac_sha384 hmac_sha512);
use JSON::PP ();
use MIME::Base64 qw(decode_base64 encode_base64);

our @EXPORT_OK = qw(
    b64url_encode b64url_decode json_encode json_decode
    key jwk jwks thumbprint sign token decode verify
);

our $Keys_dir = $ENV{LOCKBOX_KEYS}
    // File::Spec->catdir(dirname(File::Spec->rel2abs(__FILE__)),
                          qw(.. .. .. build keys));

my %TYPES = (
    'RSA1024'   => { kty => 'RSA', alg => 'RS256',
                     make => [qw(RSA -pkeyopt rsa_keygen_bits:1024)] },
    'RSA2048'   => { kty => 'RSA', alg => 'RS256',
                     make => [qw(RSA -pkeyopt rsa_keygen_bits:2048)] },
    'RSA3072'   => { kty => 'RSA', alg => 'RS256',
                     make => [qw(RSA -pkeyopt rsa_keygen_bits:3072)] },
    'P-256'     => { kty => 'EC', alg => 'ES256', size => 32,
                     make => [qw(EC -pkeyopt ec_paramgen_curve:P-256)] },
    'P-384'     => { kty => 'EC', alg => 'ES384', size => 48,
                     make => [qw(EC -pkeyopt ec_paramgen_curve:P-384)] },
    'P-521'     => { kty => 'EC', alg => 'ES512', size => 66,
                     make => [qw(EC -pkeyopt ec_paramgen_curve:P-521)] },
    'secp256k1' => { kty => 'EC', alg => 'ES256K', size => 32,
                     make => [qw(EC -pkeyopt ec_paramgen_curve:secp256k1)] },
    'Ed25519'   => { kty => 'OKP', alg => 'EdDSA', make => [qw(ED25519)] },
);

my %ALGS = (
    RS256  => { kty => 'RSA', hash => 'sha256' },
    RS384  => { kty => 'RSA', hash => 'sha384' },
    RS512  => { kty => 'RSA', hash => 'sha512' },
    ES256  => { kty => 'EC',  hash => 'sha256' },
    ES256K => { kty => 'EC',  hash => 'sha256' },
    ES384  => { kty => 'EC',  hash => 'sha384' },
    ES512  => { kty => 'EC',  hash => 'sha512' },
    EdDSA  => { kty => 'OKP' },
    HS256  => { kty => 'oct', hmac => \&hmac_sha256 },
    HS384  => { kty => 'oct', hmac => \&hmac_sha384 },
    HS512  => { kty => 'oct', hmac => \&hmac_sha512 },
);

my $JSON = JSON::PP->new->utf8->canonical->allow_nonref;


# Encodings

sub b64url_encode {
    my ($bytes) = @_;

    return encode_base64($bytes, '') =~ tr{+/=}{-_}dr;
}

sub b64url_decode {
    my ($text) = @_;

    return decode_base64($text =~ tr{-_}{+/}r);
}

# A text is taken for JSON already, so that attacks can spell it as they like.
sub json_encode {
    my ($value) = @_;

    return ref $value ? $JSON->encode($value) : $value;
}

sub json_decode {
    my ($text) = @_;

    return $JSON->decode($text);
}


# Keys

# The key of that type and name, made at first use and kept on disk.  Members:
# type, kty, alg (its usual algorithm), file and pem (private), public_file
# and public_pem, and the raw bytes of n and e, or x and y.
sub key {
    my ($type, $name) = @_;

    my $info = $TYPES{$type} or die "no such key type: $type\n";
    my $base = File::Spec->catfile($Keys_dir,
                                   "$type-" . ($name // 'default'));

    make_key($base, @{ $info->{make} }) unless -e "$base.pub.pem";

    my $self = {
        type        => $type,
        kty         => $info->{kty},
        alg         => $info->{alg},
        size        => $info->{size},
        file        => "$base.pem",
        public_file => "$base.pub.pem",
        pem         => slurp("$base.pem"),
        public_pem  => slurp("$base.pub.pem"),
    };

    return { %$self, public_members($self) };
}

# The public half is written last: where it is, the key is complete.
sub make_key {
    my ($base, $algorithm, @options) = @_;

    make_path(dirname($base), { mode => 0700 });

    open my $lock, '>', "$base.lock" or die "$base.lock: $!\n";
    flock $lock, LOCK_EX or die "$base.lock: $!\n";

    return if -e "$base.pub.pem";

    openssl('', 'genpkey', '-algorithm', $algorithm, @options,
            '-out', "$base.pem");
    openssl('', 'pkey', '-in', "$base.pem", '-pubout',
            '-out', "$base.pub.pem.new");
    rename "$base.pub.pem.new", "$base.pub.pem" or die "$base: $!\n";
}

# Reads SubjectPublicKeyInfo (RFC 5280 section 4.1).
sub public_members {
    my ($key) = @_;

    my ($base64) = $key->{public_pem} =~ /-----\n(.+?)-----END/s
        or die "$key->{public_file}: no PEM\n";
    my ($info) = der(decode_base64($base64));
    my (undef, $bits) = der($info);
    my $public = substr $bits, 1;

    if ($key->{kty} eq 'RSA') {
        my ($numbers) = der($public);
        my ($n, $e) = map { s/^\0+//r } der($numbers);
        return (n => $n, e => $e);
    }

    return (x => $public) if $key->{kty} eq 'OKP';

    return (x => substr($public, 1, $key->{size}),
            y => substr($public, 1 + $key->{size}));
}

# The contents of the DER elements that follow one another in the bytes.
sub der {
    my ($bytes) = @_;

    my @contents;

    while (length $bytes) {
        my (undef, $len) = unpack 'CC', $bytes;
        my $head = 2;

        if ($len & 0x80) {
            my $octets = $len & 0x7f;
            $len = unpack 'N', substr "\0\0\0" . substr($bytes, 2, $octets), -4;
            $head += $octets;
        }

        push @contents, substr $bytes, $head, $len;
        $bytes = substr $bytes, $head + $len;
    }

    return @contents;
}

# The members that RFC 7638 hashes.
sub required_members {
    my ($key) = @_;

    my %jwk = (kty => $key->{kty});

    $jwk{crv} = $key->{type} unless $key->{kty} eq 'RSA';
    $jwk{$_} = b64url_encode($key->{$_})
        for grep { defined $key->{$_} } qw(n e x y);

    return \%jwk;
}

sub thumbprint {
    my ($key) = @_;

    return b64url_encode(sha256($JSON->encode(required_members($key))));
}

# The public JWK.  Further members, or undef to leave one out, may be given;
# kid is the thumbprint and alg the key's own unless they say otherwise.
sub jwk {
    my ($key, %members) = @_;

    my %jwk = (
        %{ required_members($key) },
        kid => thumbprint($key),
        alg => $key->{alg},
        use => 'sig',
        %members,
    );

    delete $jwk{$_} for grep { !defined $jwk{$_} } keys %jwk;

    return \%jwk;
}

# The text of a key set: of keys, or of JWKs as jwk() makes them.
sub jwks {
    my (@keys) = @_;

    return $JSON->encode({
        keys => [ map { exists $_->{type} ? jwk($_) : $_ } @keys ],
    });
}


# Tokens

# A compact JWS.  Header and payload are structures, or texts taken as they
# are.  The key is one of key(), or the secret for HS*.  The algorithm is the
# header's unless "alg" says otherwise; "none" gives an empty signature.
sub sign {
    my ($header, $payload, $key, %options) = @_;

    my $alg = $options{alg}
        // (ref $header ? $header : json_decode($header))->{alg}
        // die "no alg to sign with\n";

    my $input = join '.', map { b64url_encode(json_encode($_)) }
                              $header, $payload;

    return "$input." . b64url_encode(signature($alg, $input, $key));
}

sub signature {
    my ($alg, $input, $key) = @_;

    return '' if lc $alg eq 'none';

    my $info = $ALGS{$alg} or die "cannot sign with alg \"$alg\"\n";

    return $info->{hmac}->($input, $key) if $info->{hmac};

    $info->{kty} eq $key->{kty}
        or die "cannot sign $alg with a $key->{type} key\n";

    if ($key->{kty} eq 'OKP') {
        my $file = temporary($input);
        return openssl('', 'pkeyutl', '-sign', '-rawin', '-in', "$file",
                       '-inkey', $key->{file});
    }

    my $signature = openssl($input, 'dgst', "-$info->{hash}", '-binary',
                            '-sign', $key->{file});

    return $key->{kty} eq 'RSA' ? $signature
                                : ecdsa_raw($signature, $key->{size});
}

# 1 if the key made the signature of the token, by the header's algorithm.
sub verify {
    my ($token, $key) = @_;

    my $parts = decode($token);
    my $info = $ALGS{ $parts->{header}{alg} } or return 0;
    my ($input, $signature) = @$parts{qw(input signature)};

    return $info->{hmac}->($input, $key) eq $signature ? 1 : 0
        if $info->{hmac};
    return 0 if $info->{kty} ne $key->{kty};

    if ($key->{kty} eq 'EC') {
        return 0 if length $signature != 2 * $key->{size};
        $signature = ecdsa_der($signature);
    }

    my $file = temporary($signature);
    my $data = temporary($input);
    my @command = $key->{kty} eq 'OKP'
        ? ('pkeyutl', '-verify', '-rawin', '-pubin', '-sigfile', "$file",
           '-inkey', $key->{public_file}, '-in', "$data")
        : ('dgst', "-$info->{hash}", '-signature', "$file",
           '-verify', $key->{public_file}, "$data");

    return eval { openssl('', @command); 1 } ? 1 : 0;
}

# ECDSA-Sig-Value (RFC 3279) to r || s (RFC 7518 section 3.4) and back
sub ecdsa_raw {
    my ($der, $size) = @_;

    my ($pair) = der($der);

    return join '', map { substr "\0" x $size . $_, -$size } der($pair);
}

sub ecdsa_der {
    my ($raw) = @_;

    my $pair = '';

    for my $number (unpack '(a' . length($raw) / 2 . ')2', $raw) {
        $number =~ s/^\0+(?=.)//s;
        $number = "\0$number" if ord $number & 0x80;
        $pair .= pack 'CC/a*', 0x02, $number;
    }

    return length $pair < 0x80 ? pack('CC/a*', 0x30, $pair)
                               : pack('CCC/a*', 0x30, 0x81, $pair);
}

# A token with usual claims: token(key => ..., iss => ..., sub => ...,
# aud => ..., life => 300, iat => now, exp => iat + life, claims => {...},
# header => {...}).  A claim or header member that is undef is left out.
sub token {
    my (%options) = @_;

    my $key = $options{key};
    my $iat = $options{iat} // time;

    my %header = (
        typ => 'JWT',
        ref $key ? (alg => $key->{alg}, kid => thumbprint($key)) : (),
        %{ $options{header} // {} },
    );

    my %claims = (
        iss => $options{iss},
        sub => $options{sub},
        aud => $options{aud},
        iat => $iat,
        exp => $options{exp} // $iat + ($options{life} // 300),
        %{ $options{claims} // {} },
    );

    for my $members (\%header, \%claims) {
        delete $members->{$_}
            for grep { !defined $members->{$_} } keys %$members;
    }

    return sign(\%header, \%claims, $key,
                defined $options{alg} ? (alg => $options{alg}) : ());
}

# The parts of a compact JWS, unverified: header, payload, signature (bytes)
# and input (what is signed).
sub decode {
    my ($token) = @_;

    my @segments = split /\./, $token, -1;
    @segments == 3 or die "no compact JWS: $token\n";

    return {
        header    => json_decode(b64url_decode($segments[0])),
        payload   => json_decode(b64url_decode($segments[1])),
        signature => b64url_decode($segments[2]),
        input     => "$segments[0].$segments[1]",
    };
}


# The openssl command

# Runs it with that input and returns what it prints; dies if it fails.
sub openssl {
    my ($input, @arguments) = @_;

    my $in = temporary($input);
    my $errors = File::Temp->new;

    open my $stdin, '<', "$in" or die "$in: $!\n";
    my $pid = open3('<&' . fileno($stdin), my $out,
                    '>&' . fileno($errors), 'openssl', @arguments);
    binmode $out;
    my $output = do { local $/; <$out> };

    local $?;
    waitpid $pid, 0;
    die "openssl @arguments: ", slurp("$errors"), "\n" if $?;

    return $output // '';
}

sub temporary {
    my ($bytes) = @_;

    my $file = File::Temp->new;
    binmode $file;
    print {$file} $bytes;
    $file->flush;

    return $file;
}

sub slurp {
    my ($file) = @_;

    open my $fh, '<:raw', $file or die "$file: $!\n";
    local $/;

    return <$fh>;
}


1;
