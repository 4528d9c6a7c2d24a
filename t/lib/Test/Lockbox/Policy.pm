package Test::Lockbox::Policy;

# A tenant's policy as its customer sets it, and as it stands in Redis.

use strict;
use warnings;

use Digest::SHA qw(sha256);
use Exporter qw(import);
use JSON::PP ();
use POSIX qw(strftime);

use Lockbox::Jose qw(b64url_encode decode sign thumbprint);
use Test::Lockbox::Admin;
use Test::Lockbox::Conf;

our @EXPORT = qw(
    $DAY policy_uri policy_key policy_of put_policy set_policy no_policy
    time_at time_in triage policy_record put_record policy_seal
);

our $DAY = 86400;

my $JSON = JSON::PP->new->utf8->canonical;


sub policy_uri {
    my ($tenant) = @_;

    return '/lockbox/v1/tenants/' . ($tenant // 'acme') . '/policy';
}

sub policy_key {
    my ($tenant) = @_;

    return 'lockbox:{' . ($tenant // 'acme') . '}:policy';
}

# What somebody sees of it.
sub policy_of {
    my ($who, $tenant) = @_;

    return ask($who // 'customer', 'GET', policy_uri($tenant));
}

# A call that is to set it.
sub put_policy {
    my ($who, $version, $policy, $tenant) = @_;

    return ask($who, 'PUT', policy_uri($tenant),
               json => { version => $version, policy => $policy });
}

# Sets it, by acme's customer, whatever it was; what everybody sees then.
sub set_policy {
    my (%policy) = @_;

    my $version = redis('HGET', policy_key(), 'version') // 0;
    my $response = put_policy('customer', $version + 0, \%policy);

    $response->status == 200 or die 'no policy: ', $response->body;

    return $response->json;
}

# As if none had ever been set.
sub no_policy {
    redis('DEL', policy_key());
}

# A time in so many seconds, as RFC 3339 says it; and one in Unix seconds.
sub time_in {
    my ($seconds) = @_;

    return time_at(time + $seconds);
}

sub time_at {
    my ($time) = @_;

    return strftime('%Y-%m-%dT%H:%M:%SZ', gmtime $time);
}

# A preapproval of what filing() asks for; "item" are other members of it.
sub triage {
    my (%members) = @_;

    my $item = delete $members{item} // {};

    return {
        name => 'triage', until => time_in($DAY),
        access => [ { %{ filing()->{access}[0] }, %$item } ],
        %members,
    };
}


# In Redis

# A version as it is stored.
sub policy_record {
    my ($version, $tenant) = @_;

    return $JSON->decode(redis('HGET', policy_key($tenant),
                               'policy:' . $version % 16));
}

# Makes this the version in force.
sub put_record {
    my ($version, $record, $tenant) = @_;

    redis('HSET', policy_key($tenant), version => $version,
          'policy:' . $version % 16 => $JSON->encode($record));
}

# A seal like that of the record, after "claims" have replaced some of its own
# and those that are undef are gone.  Options: key, kid and typ.
sub policy_seal {
    my ($record, $claims, %how) = @_;

    my $key = $how{key} // Test::Lockbox::Conf::signing_key();
    my %claims = (%{ decode($record->{seal})->{payload} }, %$claims);

    delete $claims{$_} for grep { !defined $claims{$_} } keys %claims;

    return sign({ typ => $how{typ} // 'lockbox-policy+jwt',
                  alg => $key->{alg},
                  kid => $how{kid} // thumbprint($key) }, \%claims, $key);
}

sub hash_of {
    my ($policy) = @_;

    return b64url_encode(sha256($JSON->encode($policy)));
}


1;
