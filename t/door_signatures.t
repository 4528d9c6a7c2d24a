#!/usr/bin/perl

# Why: what is signed is worth what the check of the signature is worth.  Each
# signature here is one that a careless reader takes, or one that has to be
# taken although it looks odd.

use strict;
use warnings;

use Math::BigInt;

use Lockbox::Jose qw(b64url_decode b64url_encode);
use Test::Lockbox;
use Test::Lockbox::Admin;
use Test::Lockbox::Doors;
use Test::Lockbox::Refusal;

# The order of P-256 (SP 800-186 section 3.2.1.3).
my $ORDER = Math::BigInt->from_hex('ffffffff00000000ffffffffffffffff'
                                   . 'bce6faada7179e84f3b9cac2fc632551');

my $t = Test::Lockbox->new;

open_doors($t);


# Another signature instead, made of the bytes of the genuine one.
sub signature {
    my ($change) = @_;

    return (token => sub {
        my (undef, $header, $payload, $signature) = @_;

        return "$header.$payload."
            . b64url_encode($change->(b64url_decode($signature),
                                      "$header.$payload"));
    });
}

# As signature(), with r and s of ECDSA as numbers or bytes.
sub numbers {
    my ($change) = @_;

    return signature(sub {
        my ($r, $s) = map { Math::BigInt->from_bytes($_) }
                          unpack 'a32 a32', $_[0];

        return join '', map { ref $_ ? bytes($_, 32) : $_ }
                            $change->($r, $s);
    });
}

sub bytes {
    my ($number, $size) = @_;

    return substr "\0" x $size . $number->to_bytes, -$size;
}

sub sign_with {
    my ($key, @options) = @_;

    return signature(sub {
        return Lockbox::Jose::openssl($_[1], 'dgst', @options, '-binary',
                                      '-sign', $key->{file});
    });
}


# ECDSA

my $zero = "\0" x 32;
my $ones = "\xff" x 32;

try_tokens(
    [ 'T25 r and s are 0', 'bad_signature', numbers(sub { $zero, $zero }) ],
    [ 'T25 r is 0', 'bad_signature', numbers(sub { $zero, $_[1] }) ],
    [ 'T25 s is 0', 'bad_signature', numbers(sub { $_[0], $zero }) ],
    [ 'T25 r and s are 1', 'bad_signature',
      numbers(sub { (Math::BigInt->bone) x 2 }) ],
    [ 'T25 r and s are the order', 'bad_signature',
      numbers(sub { ($ORDER) x 2 }) ],
    [ 'T25 r is the order', 'bad_signature', numbers(sub { $ORDER, $_[1] }) ],
    [ 'T25 s is the order', 'bad_signature', numbers(sub { $_[0], $ORDER }) ],
    [ 'T25 r is more than the order', 'bad_signature',
      numbers(sub { $ORDER + 1, $_[1] }) ],
    [ 'T25 s is more than the order', 'bad_signature',
      numbers(sub { $_[0], $ORDER + 1 }) ],
    [ 'T25 r and s as they are', 'allow', numbers(sub { @_ }) ],
    [ 'T26 all ones', 'bad_signature', numbers(sub { $ones, $ones }) ],
    [ 'T26 all ones in s', 'bad_signature', numbers(sub { $_[0], $ones }) ],
    [ 'T26 all ones in r', 'bad_signature', numbers(sub { $ones, $_[1] }) ],

    [ 'r and s change places', 'bad_signature', numbers(sub { @_[1, 0] }) ],
    [ 'r and n-s change places', 'bad_signature',
      numbers(sub { $ORDER - $_[1], $_[0] }) ],
    [ 'n-r', 'bad_signature', numbers(sub { $ORDER - $_[0], $_[1] }) ],
    [ 's+1', 'bad_signature', numbers(sub { $_[0], $_[1] + 1 }) ],
    [ 'r without s', 'bad_signature', numbers(sub { $_[0] }) ],
    [ 's without r', 'bad_signature', numbers(sub { $_[1] }) ],
    [ 'in DER', 'bad_signature',
      signature(sub { Lockbox::Jose::ecdsa_der($_[0]) }) ],
    [ 'one byte short', 'bad_signature',
      signature(sub { substr $_[0], 0, -1 }) ],
    [ 'without its first byte', 'bad_signature',
      signature(sub { substr $_[0], 1 }) ],
    [ 'one byte long', 'bad_signature', signature(sub { "$_[0]\0" }) ],
    [ 'with a zero in front', 'bad_signature', signature(sub { "\0$_[0]" }) ],
    [ 'r and s of 33 bytes', 'bad_signature',
      numbers(sub { map { "\0" . bytes($_, 32) } @_ }) ],
    [ 'r and s of 66 bytes, as of P-521', 'bad_signature',
      numbers(sub { map { bytes($_, 66) } @_ }) ],
    [ 'twice', 'bad_signature', signature(sub { $_[0] x 2 }) ],
    [ 'over SHA-384', 'bad_signature', alg => 'ES384' ],
    [ 'an RSA signature by the right kid', 'bad_signature',
      signature(sub { "\1" x 256 }) ],
);

# A leading zero belongs to the number; one of 128 signatures has it.
my $stripped;

for my $n (1 .. 2000) {
    my $token = shown('gate', claims => { n => $n });
    my ($input, $signature) = $token =~ /(.*)\.(.*)/;
    my ($r, $s) = unpack 'a32 a32', b64url_decode($signature);

    if ("$r $s" =~ /^\0| \0.{31}\z/s) {
        $stripped = "$input." . b64url_encode(join '', map { s/^\0+//r }
                                                           $r, $s);
        try_tokens([ 'a leading zero', 'allow', at => 'gate',
                     token => sub { $token } ],
                   [ 'without its leading zero', 'bad_signature',
                     at => 'gate', token => sub { $stripped } ]);
        last;
    }
}

ok($stripped, 'there was one with a leading zero');


# RSA

my %rsa = (type => 'RSA2048');

# As signature(), with the number and the modulus; 256 bytes or more.
sub number {
    my ($door, $change) = @_;

    my $key = Test::Lockbox::Doors::usual($door, 'RSA2048')->{key};
    my $modulus = Math::BigInt->from_bytes($key->{n});

    return (at => $door, %rsa, signature(sub {
        my $number = $change->(Math::BigInt->from_bytes($_[0]), $modulus);
        my $bytes = $number->to_bytes;

        return length $bytes > 256 ? $bytes : bytes($number, 256);
    }));
}

for my $door ('gate', 'admin') {
    my $key = Test::Lockbox::Doors::usual($door, 'RSA2048')->{key};
    my @own = (at => $door, %rsa);
    my $pss = 'rsa_padding_mode:pss';

    try_tokens(
        [ 'RSA: 0', 'bad_signature', number($door, sub { $_[0] * 0 }) ],
        [ 'RSA: 1', 'bad_signature', number($door, sub { $_[0] * 0 + 1 }) ],
        [ 'RSA: the modulus', 'bad_signature', number($door, sub { $_[1] }) ],
        [ 'RSA: less than the modulus by 1', 'bad_signature',
          number($door, sub { $_[1] - 1 }) ],
        [ 'RSA: more by the modulus', 'bad_signature',
          number($door, sub { $_[0] + $_[1] }) ],
        [ 'RSA: the modulus less it', 'bad_signature',
          number($door, sub { $_[1] - $_[0] }) ],
        [ 'RSA: as it is', 'allow', number($door, sub { $_[0] }) ],
        [ 'RSA: all ones', 'bad_signature', @own,
          signature(sub { "\xff" x 256 }) ],
        [ 'RSA: one byte short', 'bad_signature', @own,
          signature(sub { substr $_[0], 0, -1 }) ],
        [ 'RSA: without its first byte', 'bad_signature', @own,
          signature(sub { substr $_[0], 1 }) ],
        [ 'RSA: a zero in front', 'bad_signature', @own,
          signature(sub { "\0$_[0]" }) ],
        [ 'RSA: a zero behind', 'bad_signature', @own,
          signature(sub { "$_[0]\0" }) ],
        [ 'RSA: of 128 bytes', 'bad_signature', @own,
          signature(sub { substr $_[0], 0, 128 }) ],
        [ 'RSA: of 4000 bytes', 'bad_signature', @own,
          signature(sub { "\1" x 4000 }) ],
        [ 'RSA: PSS', 'bad_signature', @own,
          sign_with($key, '-sha256', '-sigopt', $pss) ],
        [ 'RSA: PSS, and so it says', 'bad_signature', @own,
          header => { alg => 'PS256' },
          sign_with($key, '-sha256', '-sigopt', $pss) ],
        [ 'RSA: over SHA-1', 'bad_signature', @own, sign_with($key, '-sha1') ],
        [ 'RSA: over SHA-512', 'bad_signature', @own,
          sign_with($key, '-sha512') ],
        [ 'RSA: over SHA-256', 'allow', @own, sign_with($key, '-sha256') ],
    );
}


# What was signed is what is said

sub flipped {
    my ($segment, $at, $bit) = @_;

    return (token => sub {
        my (undef, @segments) = @_;
        my $bytes = b64url_decode($segments[$segment]);

        substr($bytes, $at, 1) ^= chr $bit;
        $segments[$segment] = b64url_encode($bytes);

        return join '.', @segments;
    });
}

# Header and payload of one, signature of another that differs in a claim.
sub mixed {
    my ($segment, $door) = @_;

    return (at => $door, token => sub {
        my (undef, @segments) = @_;
        my @other = split /\./, shown($door, claims => { sub => 'emil' },
                                      header => { x5t => 'abc' });

        $segments[$segment] = $other[$segment];

        return join '.', @segments;
    });
}

try_tokens(
    # every place where a bit does not spoil the JSON is one of a text
    [ 'a flipped bit in the payload', 'bad_signature',
      claims_text => sub { '{"x":"aaaa",' . substr $_[0], 1 },
      flipped(1, 7, 2) ],
    [ 'a flipped bit in the header', 'bad_signature',
      header_text => sub { '{"x":"aaaa",' . substr $_[0], 1 },
      flipped(0, 7, 2) ],
    [ 'no flipped bit', 'allow', flipped(1, 7, 0) ],
    map({ [ "a flipped bit in the signature, at $_", 'bad_signature',
            flipped(2, $_, 1) ] } 0, 31, 32, 63),
    map({ my $door = $_;
          (map { [ "segment $_ of another", 'bad_signature',
                   mixed($_, $door) ] } 0 .. 2) } 'gate', 'admin'),
);


# T27: ECDSA cannot tell the two signatures of one signer apart; so the second
# one opens what the first one does, and no longer

my @malleable = (numbers(sub { $_[0], $ORDER - $_[1] }));

try_tokens([ 'T27 (r, n-s)', 'allow', @malleable ]);
redis('DEL', live_key($GRANT_ID));
try_tokens([ 'T27 (r, s), revoked', 'not_live', at => 'gate' ],
           [ 'T27 (r, n-s), revoked', 'not_live', at => 'gate', @malleable ]);

all_arrivals_allowed();

done_testing;
