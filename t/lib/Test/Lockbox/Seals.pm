package Test::Lockbox::Seals;

# The seals of a request as they stand in Redis: taken out, signed anew with
# other claims, and put back, by somebody who can write there.

use strict;
use warnings;

use Digest::SHA qw(sha256);
use Exporter qw(import);
use JSON::PP ();

use Lockbox::Jose qw(b64url_encode decode sign thumbprint);
use Test::Lockbox::Admin;
use Test::Lockbox::Conf;

our @EXPORT = qw(seals_of put_seals reseal access_text access_hash);

my $JSON = JSON::PP->new->utf8->canonical;


# In order, the filing's first.
sub seals_of {
    my ($id, $tenant) = @_;

    my $fields = stored($id, $tenant);

    return map { $JSON->decode($fields->{"decision:$_"})->{seal} }
               0 .. $fields->{decisions} - 1;
}

# Makes these the seals of the request, and all there are.  What was written
# with a decision stays in its place.
sub put_seals {
    my ($id, @seals) = @_;

    my $key = request_key($id);
    my $fields = stored($id);

    redis('HDEL', $key, grep { /^decision:/ } keys %$fields);
    redis('HSET', $key, decisions => scalar @seals,
          map { ("decision:$_" => decision_text($seals[$_],
                                                $fields->{"decision:$_"})) }
              0 .. $#seals);
}

sub decision_text {
    my ($seal, $before) = @_;

    my $claims = decode($seal)->{payload};

    my $said = $JSON->decode($before || '{}');

    return $JSON->encode({
        map({ exists $said->{$_} ? ($_ => $said->{$_}) : () }
            qw(comment access duration preapproval policy_version)),
        stage => $claims->{stage} // 'manager',
        decision => $claims->{decision} // 'approve',
        by => { iss => $claims->{by_iss} // 'https://login.vendor.example',
                sub => $claims->{sub} },
        at => '2026-01-01T00:00:00.000Z', seal => $seal,
    });
}

# Signs all seals of the request again, after "work" has changed their claims.
# Each names its predecessor, unless its "prev" was changed.  Options: key, kid
# and typ instead of the usual ones, and from, the first seal that they are
# for.
sub reseal {
    my ($id, $work, %options) = @_;

    my @claims = map { decode($_)->{payload} } seals_of($id);
    my @before = map { $_->{prev} // '' } @claims;

    $work->(@claims);

    my @seals;

    for my $i (0 .. $#claims) {
        my $claims = $claims[$i];
        my %how = $i >= ($options{from} // 0) ? %options : ();

        $claims->{prev} = hash_of($seals[-1])
            if @seals && ($claims->{prev} // '') eq $before[$i];
        delete $claims->{$_} for grep { !defined $claims->{$_} } keys %$claims;

        push @seals, seal($claims, %how);
    }

    put_seals($id, @seals);
}

sub seal {
    my ($claims, %how) = @_;

    my $key = $how{key} // Test::Lockbox::Conf::signing_key();

    return sign({ typ => $how{typ} // 'lockbox-seal+jwt', alg => $key->{alg},
                  kid => $how{kid} // thumbprint($key) }, $claims, $key);
}

sub hash_of {
    my ($text) = @_;

    return b64url_encode(sha256($text));
}

sub access_text {
    return $JSON->encode([ @_ ]);
}

sub access_hash {
    return hash_of(access_text(@_));
}


1;
